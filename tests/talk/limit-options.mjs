// Promise: each limit of PROTOCOL §4 has an option, and the server keeps to what it says.

import assert from 'node:assert/strict'
import { PASSWORD, call, http, login, online, raw, refused, register, tcp } from '../support/client.mjs'
import { OPCODE, encodeFrame } from '../support/socket.mjs'
import { startServer } from '../support/server.mjs'
import { SLOW, test } from '../support/suite.mjs'

const server = await startServer({ args: ['--head-max', '2048', '--body-max', '2000', '--head-time', '1', '--body-time', '2', '--keep-alive', '3', '--fragments-max', '10',
  '--max-sessions-per-user', '2', '--max-rooms-per-user', '1', '--session-idle', '7', '--session-age', '70'] })
const alice = await register(server, 'alice')
const H = `Host: 127.0.0.1:${server.port}\r\n`

test('--head-max and --body-max', async () => {
  const get = pad => raw(server, `GET /healthz HTTP/1.1\r\n${H}Connection: close\r\nX: ${'x'.repeat(pad)}\r\n\r\n`)
  assert.equal((await get(1900))[0].status, 200)
  assert.equal((await get(2100))[0].status, 431)
  const post = pad => http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD, pad: 'x'.repeat(pad) } })
  assert.equal((await post(1800)).status, 200)
  assert.equal((await post(2000)).status, 413)
})

test('--head-time, --body-time and --keep-alive', async () => {
  const last = async (bytes, least, answer) => {
    const conn = tcp(server), begin = Date.now()
    conn.write(bytes)
    await conn.closed
    const took = Date.now() - begin
    assert.ok(took >= least * 1000 - 100 && took < (least + 4) * 1000 * SLOW, `${took} ms`)
    assert.match(conn.text(), answer)
  }
  await Promise.all([
    last('GET /healthz HTTP/1.1\r\n', 1, /^HTTP\/1\.1 408 /),
    last(`POST /api/login HTTP/1.1\r\n${H}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`, 2, /^HTTP\/1\.1 408 /),
    last(`GET /healthz HTTP/1.1\r\n${H}\r\n`, 3, /^HTTP\/1\.1 200 /),
  ])
}, { together: true })

test('--fragments-max', async () => {
  const s = await online(server, alice)
  const inPieces = n => Buffer.concat(Array.from({ length: n }, (_, i) =>
    encodeFrame(i ? ' ' : '{"type":"ping"}', { opcode: i ? OPCODE.continuation : OPCODE.text, fin: i === n - 1 })))
  s.sendRaw(inPieces(10))
  await s.next('pong')
  s.sendRaw(inPieces(11))
  await s.expectClose(1009)
})

test('--max-sessions-per-user: the longest unused goes', async () => {
  const bob = await register(server, 'bob'), second = await login(server, 'bob'), third = await login(server, 'bob')
  await refused(server, 'GET', '/api/me', { token: bob.token }, 401, 'unauthorized')
  for (const { token } of [second, third]) assert.equal((await call(server, 'GET', '/api/me/sessions', { token })).sessions.length, 2)
})

test('… and however many there are, all others end with the password', async () => {
  const many = await startServer({ args: ['--max-sessions-per-user', '256', '--password-memory', '1', '--password-ops', '1'] })
  const tokens = [(await register(many, 'carol')).token]
  while (tokens.length < 256) tokens.push((await login(many, 'carol')).token)
  assert.equal((await call(many, 'GET', '/api/me/sessions', { token: tokens[7] })).sessions.length, 256)
  await call(many, 'POST', '/api/me/password', { token: tokens[0], json: { old: PASSWORD, new: 'another long password' } }, 204)
  const status = await Promise.all(tokens.map(async token => (await http(many, 'GET', '/api/me', { token })).status))
  assert.deepEqual(status, tokens.map((_, i) => i ? 401 : 200))
  await many.stop()
}, { timeout: 60_000 })

test('--max-rooms-per-user', async () => {
  const make = name => http(server, 'POST', '/api/rooms', { token: alice.token, json: { name } })
  assert.equal((await make('first')).status, 201)
  assert.equal((await make('second')).json.error, 'too_many')
})

test('--session-idle and --session-age', async () => {
  const begin = Date.now()
  const res = await http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD } })
  assert.equal(Math.round((res.json.expires - begin) / 86_400_000), 7)
  assert.match(String(res.headers['set-cookie']), /Max-Age=6048000(;|$)/)
})

test('--login-rate-per-address', async () => {
  const few = await startServer({ args: ['--login-rate', '10', '--login-rate-per-address', '3', '--password-memory', '1', '--password-ops', '1'] })
  const status = []
  for (let i = 0; i < 5; i++) status.push((await http(few, 'POST', '/api/login', { json: { username: `nobody${i}`, password: 'wrong password' } })).status)
  assert.deepEqual(status, [401, 401, 401, 429, 429])
  await few.stop()
})
