// Promise: the program file is linked so that a fault in it is hard to use (position-independent, relocations read-only
// before main, no executable stack, nothing writable and executable), and the running server keeps no password longer than it
// needs it: none is found in its memory.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { call, http, login, register } from '../support/client.mjs'
import { binary, startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

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

/** How often the bytes are in the writable memory of a process. */
function found(pid, text) {
  const wanted = Buffer.from(text)
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

test('no password stays in memory, whether it was right, wrong or refused', async () => {
  const server = await startServer()
  const secrets = ['zyzzyva-registers-9181', 'zyzzyva-logs-in-wrong-7272', 'zyzzyva-changes-to-6363', 'zyzzyva-name-is-bad-5454']
  const alice = await register(server, 'alice', { password: secrets[0] })
  assert.ok(found(server.pid, 'alice') > 0, 'the search finds what is there')
  await login(server, 'alice', secrets[0])
  assert.equal((await http(server, 'POST', '/api/login', { json: { username: 'alice', password: secrets[1] } })).status, 401)
  await call(server, 'POST', '/api/me/password', { token: alice.token, json: { old: secrets[0], new: secrets[2] } }, 204)
  assert.equal((await http(server, 'POST', '/api/register', { json: { username: 'bad name', password: secrets[3] } })).status, 422)
  for (const secret of secrets) assert.equal(found(server.pid, secret), 0, secret)
  await server.stop()
}, { skip: process.getuid() !== 0 ? 'needs root to look into a process' : instrumented ? 'a build with instruments' : '' })
