// Promise: the program file is linked so that a fault in it is hard to use (position-independent, relocations read-only
// before main, no executable stack, nothing writable and executable), and the running server keeps no password, token or
// invitation longer than it needs it: none is found in its memory.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { call, http, login, register, registerAdmin, tcp, ws } from '../support/client.mjs'
import { binary, startServer } from '../support/server.mjs'
import { eventually, sleep, test } from '../support/suite.mjs'

const instrumented = /\b(asan|tsan|msan|coverage|valgrind)\b/.test(binary)
const elf = (() => { try { return execFileSync('readelf', ['-hldW', binary]).toString() } catch { return '' } })()

test('the file: PIE, RELRO, BIND_NOW, NX', () => {
  assert.match(elf, /Type: *DYN/, 'position-independent')
  assert.match(elf, /GNU_RELRO/)
  assert.match(elf, /BIND_NOW|Flags: .*NOW/)
  assert.match(elf, /GNU_STACK .* RW +0x/, 'the stack is not executable')
  assert.doesNotMatch(elf, /LOAD .* RWE /, 'nothing is writable and executable')
  assert.doesNotMatch(elf, /TEXTREL/)
}, { skip: instrumented ? 'a build with instruments' : elf ? '' : 'no readelf' })

/** How often the end of the text is in the writable memory of a process: the first bytes of what has been freed are the allocator's. */
function found(pid, text) {
  const wanted = Buffer.from(text.slice(-20))
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  let count = 0
  for (const [, from, to] of readFileSync(`/proc/${pid}/maps`, 'utf8').matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw.*$/mg)) {
    const begin = parseInt(from, 16), size = parseInt(to, 16) - begin
    const bytes = Buffer.alloc(size)
    let length = 0
    try { length = readSync(memory, bytes, 0, size, begin) } catch { continue }
    for (let at = bytes.indexOf(wanted); at >= 0 && at < length; at = bytes.indexOf(wanted, at + 1)) count++
  }
  closeSync(memory)
  return count
}

const LOOK = { skip: process.getuid() !== 0 ? 'needs root to look into a process' : instrumented ? 'a build with instruments' : '', timeout: 30_000 }

/** A client may have its answer a moment before the server has wiped it away. Nothing is asked meanwhile, which might overwrite it by chance. */
const gone = (server, what, text) => eventually(`${what} is gone from memory`, () => found(server.pid, text) === 0, 1000)

test('no password stays in memory, whether it was right, wrong or refused', async () => {
  const server = await startServer()
  const secrets = ['zyzzyva-registers-9181', 'zyzzyva-logs-in-wrong-7272', 'zyzzyva-changes-to-6363', 'zyzzyva-name-is-bad-5454']
  const alice = await register(server, 'alice', { password: secrets[0] })
  assert.ok(found(server.pid, 'alice') > 0, 'the search finds what is there')
  await login(server, 'alice', secrets[0])
  assert.equal((await http(server, 'POST', '/api/login', { json: { username: 'alice', password: secrets[1] } })).status, 401)
  await call(server, 'POST', '/api/me/password', { token: alice.token, json: { old: secrets[0], new: secrets[2] } }, 204)
  assert.equal((await http(server, 'POST', '/api/register', { json: { username: 'bad name', password: secrets[3] } })).status, 422)
  for (const secret of secrets) await gone(server, secret, secret)
  await server.stop()
}, LOOK)

test('no password stays in memory, however strange the request', async () => {
  const server = await startServer()
  await register(server, 'alice')
  const refuse = async (secret, body) => {
    assert.ok([400, 401].includes((await http(server, 'POST', '/api/login', { body, headers: { 'Content-Type': 'application/json' } })).status))
    await gone(server, secret, secret)
  }
  const pad = 'x'.repeat(20_000)
  await refuse('zyzzyva-without-a-name', '{"password":"zyzzyva-without-a-name"}')
  await refuse('zyzzyva-and-no-end-to-it', '{"username":"alice","password":"zyzzyva-and-no-end-to-it",')
  await refuse('zyzzyva-in-a-large-body', JSON.stringify({ pad, username: 'alice', password: 'zyzzyva-in-a-large-body' }))
  const body = JSON.stringify({ username: 'alice', password: 'zyzzyva-in-many-pieces', pad: pad.slice(0, 5000) }), slow = tcp(server)
  slow.write(`POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`)
  for (let at = 0; at < body.length; at += 200) {
    slow.write(body.slice(at, at + 200))
    await sleep(2)
  }
  await slow.closed
  assert.match(slow.text(), /^HTTP\/1\.1 401/)
  await gone(server, 'what came in pieces', 'zyzzyva-in-many-pieces')
  await server.stop()
}, LOOK)

test('no token stays in memory when it has been told or has been used, and no invitation', async () => {
  const server = await startServer()
  const invite = server.adminInvite()
  await gone(server, 'the invitation that was printed', invite)
  const boss = await registerAdmin(server, 'boss')
  await gone(server, 'the invitation that was used', invite)
  await gone(server, 'the token of a registration', boss.token)
  const fresh = async () => {
    const { token } = await login(server, 'boss')
    await gone(server, 'the token of a login', token)
    return token
  }
  for (const way of ['token', 'bearer', 'cookie']) {
    const token = await fresh(), socket = await ws(server, { [way]: token })
    await socket.next('ready')
    await gone(server, `the token of a handshake by ${way}`, token)
    await socket.close()
  }
  for (const way of ['token', 'cookie']) {
    const token = await fresh()
    await call(server, 'GET', '/api/me', { [way]: token }, 200)
    await gone(server, `the token of a request by ${way}`, token)
  }
  const get = (token, more) => `GET /api/me HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\nCookie: chatterbox=${token}\r\n${more}\r\n`
  const pieces = await fresh(), slow = tcp(server)
  for (const part of get(pieces, `X-Long: ${'x'.repeat(3000)}\r\nConnection: close\r\n`).match(/[^]{1,100}/g)) {
    slow.write(part)
    await sleep(2)
  }
  await slow.closed
  assert.match(slow.text(), /^HTTP\/1\.1 200/)
  await gone(server, 'what came in pieces', pieces)
  const half = await fresh(), broken = tcp(server)
  broken.write(get(half, '').slice(0, -4))
  await sleep(50)
  broken.destroy()
  await gone(server, 'the token of half a request', half)
  const many = await fresh(), eager = tcp(server)
  eager.write(get(many, '').repeat(30))
  await eventually('30 answers', () => eager.text().split('"username":"boss"').length === 31)
  await gone(server, 'the tokens of requests in a row', many)
  eager.destroy()
  const wrong = await fresh()
  await http(server, 'GET', `/ws?token=${wrong}`)
  await gone(server, 'the token of what was no handshake', wrong)
  await server.stop()
}, LOOK)
