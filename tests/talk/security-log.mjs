// Promise: who logged in or was refused, registered, changed a password, ended a session, was blocked, came from a foreign page
// or asked for what is not theirs stands in the log, once, with the address that a trusted proxy told; a flood is counted instead
// of written down; and no password, token, query or text is ever there.

import assert from 'node:assert/strict'
import { PASSWORD, call, http, online, raw, register, wsRefused } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { eventually, test } from '../support/suite.mjs'

const PROXIED = ['--trust-proxy', '127.0.0.0/8']
const from = address => ({ 'X-Forwarded-For': `6.6.6.6, ${address}` })

/** A line of either format as `{level, message}`. */
function parsed(line) {
  if (line.startsWith('{')) return JSON.parse(line)
  const [, level, message] = /^\S+ (\w+) +(.*)$/.exec(line)
  return { level, message }
}
const events = server => server.errors.filter(line => line.includes('security: ')).map(parsed)

/** Waits for exactly one new event, and looks at it. `seen` counts those that were looked at. */
async function logged(server, level, message) {
  server.seen ??= 0
  await eventually(`the line "${message}"`, () => events(server).length > server.seen)
  const event = events(server)[server.seen++]
  if (message instanceof RegExp) assert.match(event.message, message)
  else assert.equal(event.message, `security: ${message}`)
  assert.equal(event.level, level)
  assert.equal(events(server).length, server.seen, 'one line for one event')
}

for (const format of ['text', 'json']) {
  test(`each event is one line, in ${format}`, async () => {
    const server = await startServer({ args: [...PROXIED, '--log-format', format, '--log-level', 'debug', '--login-rate', '7'] })
    const secrets = []
    const post = (path, json, more = {}) => http(server, 'POST', path, { json, ...more, headers: { ...from('203.0.113.5'), ...more.headers } })
    const enter = async (path, json, more) => {
      const { json: { token } } = await post(path, json, more)
      secrets.push(token)
      return { token, username: json.username }
    }

    const invite = server.adminInvite()
    const boss = await enter('/api/register', { username: 'boss', password: PASSWORD, invite }, { headers: from('2001:db8::7') })
    await logged(server, 'info', 'registered: boss from 2001:db8::7: an administrator, by invitation')
    const alice = await enter('/api/register', { username: 'alice', password: PASSWORD })
    await logged(server, 'info', 'registered: alice from 203.0.113.5: registration is open')
    await post('/api/register', { username: 'mallory', password: PASSWORD, invite: 'f'.repeat(32) })
    await logged(server, 'warn', 'registration refused: - from 203.0.113.5: bad_invite')
    const again = await enter('/api/login', { username: 'ALICE', password: PASSWORD })
    await logged(server, 'info', /^security: login granted: alice from 203.0.113.5: session \d+$/)
    await post('/api/login', { username: 'alice', password: 'zyzzyva wrong' })
    await logged(server, 'warn', 'login refused: alice from 203.0.113.5: bad_credentials')
    await post('/api/login', { username: 'zyzzyva-in-the-wrong-field', password: 'alice' })
    await logged(server, 'warn', 'login refused: - from 203.0.113.5: bad_credentials')

    await post('/api/me/password', { old: 'zyzzyva wrong', new: 'zyzzyva new one' }, { token: alice.token })
    await logged(server, 'warn', 'change of password refused: alice from 203.0.113.5: bad_credentials')
    const { sessions } = await call(server, 'GET', '/api/me/sessions', { token: alice.token })
    const other = sessions.find(s => !s.current).id
    await call(server, 'DELETE', `/api/me/sessions/${other}`, { token: alice.token, headers: from('203.0.113.77') }, 204)
    await logged(server, 'info', `session ended: alice from 203.0.113.77: session ${other}`)
    await post('/api/me/password', { old: PASSWORD, new: 'zyzzyva new one' }, { token: alice.token })
    await logged(server, 'info', 'password changed: alice from 203.0.113.5: the old one was given; other sessions end')

    await post('/api/logout', undefined, { token: alice.token, headers: { Origin: 'http://evil.example' } })
    await logged(server, 'warn', 'origin refused: alice from 203.0.113.5: POST /api/logout, Origin http://evil.example')
    await post('/api/logout?token=zyzzyva', undefined, { cookie: alice.token })
    await logged(server, 'warn', 'origin refused: alice from 203.0.113.5: POST /api/logout, no Origin')
    await wsRefused(server, { token: alice.token, origin: 'http://evil.example', headers: from('203.0.113.8') }, 403, 'bad_origin')
    await logged(server, 'warn', 'origin refused: alice from 203.0.113.8: GET /ws, Origin http://evil.example')
    await http(server, 'GET', '/zyzzyva-path?zyzzyva', { headers: { Host: 'evil.example', ...from('203.0.113.5') } })
    await logged(server, 'warn', 'host refused: - from 203.0.113.5: Host evil.example')

    await http(server, 'PATCH', '/api/rooms/1', { token: alice.token, json: { topic: 'zyzzyva' }, headers: from('203.0.113.5') })
    await logged(server, 'warn', 'forbidden: alice from 203.0.113.5: forbidden, PATCH /api/rooms/1')
    const { room } = await call(server, 'POST', '/api/rooms', { token: boss.token, json: { name: 'Side' } }, 201)
    await http(server, 'GET', `/api/rooms/${room.id}/messages?zyzzyva=1`, { token: alice.token, headers: from('203.0.113.5') })
    await logged(server, 'warn', `forbidden: alice from 203.0.113.5: not_member, GET /api/rooms/${room.id}/messages`)
    await http(server, 'DELETE', '/api/rooms/1/members/boss', { token: alice.token, headers: from('203.0.113.66') })
    await logged(server, 'warn', 'forbidden: alice from 203.0.113.66: forbidden, DELETE /api/rooms/1/members/boss')

    // What is hidden is answered as if it were not there, and the log knows better; what is not there is nothing to tell.
    const { room: secret } = await call(server, 'POST', '/api/rooms', { token: boss.token, json: { name: 'Secret', private: true } }, 201)
    const hidden = ['GET messages', 'GET members', 'PATCH', 'DELETE members/zyzzyva']
    for (const [i, asked] of hidden.entries()) {
      const [method, rest] = asked.split(' '), path = id => `/api/rooms/${id}${rest ? `/${rest}` : ''}`
      const body = method === 'PATCH' ? { json: { topic: 'zyzzyva' } } : {}
      for (const id of [secret.id, 4711]) assert.equal((await http(server, method, path(id), { token: alice.token, ...body, headers: from(`203.0.113.2${i}`) })).status, 404)
      await logged(server, 'warn', `forbidden: alice from 203.0.113.2${i}: hidden, ${method}, room ${secret.id}`)
    }
    await http(server, 'DELETE', '/api/me/sessions/1', { token: alice.token, headers: from('203.0.113.30') }) // the boss's
    await logged(server, 'warn', 'forbidden: alice from 203.0.113.30: hidden, DELETE, session 1')

    const unknown = '00000000-0000-4000-8000-000000000000'
    await http(server, 'GET', '/api/me?zyzzyva', { token: 'zyzzyva', headers: from('203.0.113.31') })
    await logged(server, 'info', 'token refused: - from 203.0.113.31: given as bearer')
    await http(server, 'GET', '/api/me', { cookie: unknown, headers: from('203.0.113.32') })
    await logged(server, 'info', 'token refused: - from 203.0.113.32: given as cookie')
    await wsRefused(server, { token: unknown, headers: from('203.0.113.33') }, 401, 'unauthorized')
    await logged(server, 'info', 'token refused: - from 203.0.113.33: given as query')
    secrets.push(unknown)
    for (const path of ['/api/me', `/api/me?token=${unknown}`, '/ws']) assert.equal((await http(server, 'GET', path)).status, 401) // nobody said who it was

    const e = await online(server, alice, { headers: from('203.0.113.34') }), b = await online(server, boss)
    const { id: inside } = await b.say('zyzzyva', { room: secret.id })
    for (const [frame, told] of [[{ type: 'message', room: secret.id, text: 'x' }, `a request about room ${secret.id}`], [{ type: 'edit', id: inside, text: 'x' }, `editing message ${inside}`],
      [{ type: 'delete', id: inside }, `deleting message ${inside}`]]) {
      await e.askRefused(frame, 'not_found')
      await logged(server, 'warn', `forbidden: alice from 203.0.113.34: hidden, ${told}`)
    }
    await e.close()
    const n = await online(server, alice, { headers: from('203.0.113.35') })
    n.send({ type: 'message', room: secret.id, text: 'x', nonce: 'zyzzyva' })
    await logged(server, 'warn', `forbidden: alice from 203.0.113.35: hidden, posting in room ${secret.id}`)
    for (const frame of [{ type: 'history', room: 4711 }, { type: 'edit', id: 4711, text: 'x' }, { type: 'message', text: 'x', reply: 4711 }]) await n.askRefused(frame, 'not_found')
    for (let i = 0; i < 20; i++) n.send({ type: 'zyzzyva' })
    await n.expectClose(1008)
    await logged(server, 'warn', 'frames refused: alice from 203.0.113.35: 20 in a row, the last unknown_type')

    const a = await online(server, alice, { headers: from('203.0.113.9') })
    const { id } = await b.say('zyzzyva')
    a.send({ type: 'edit', id, text: 'zyzzyva edited' })
    await logged(server, 'warn', `forbidden: alice from 203.0.113.9: forbidden, editing message ${id}`)
    a.send({ type: 'delete', id })
    await logged(server, 'warn', `forbidden: alice from 203.0.113.9: forbidden, deleting message ${id}`)
    a.send({ type: 'message', room: room.id, text: 'zyzzyva' })
    await logged(server, 'warn', `forbidden: alice from 203.0.113.9: not_member, a request about room ${room.id}`)
    await b.close()

    await call(server, 'POST', '/api/logout', { token: boss.token, headers: from('2001:db8::7') }, 204)
    await logged(server, 'debug', /^security: logged out: boss from 2001:db8::7: session \d+$/)
    for (let i = 0; i < 3; i++) a.send({ type: 'message', text: 'bastard' })
    await a.expectClose(4002)
    await logged(server, 'warn', 'blocked by stop words: alice from 203.0.113.9: 3 warnings')
    await http(server, 'GET', '/api/me', { token: alice.token, headers: from('203.0.113.10') })
    await logged(server, 'warn', 'forbidden: alice from 203.0.113.10: blocked, GET /api/me')
    await post('/api/login', { username: 'alice', password: 'zyzzyva new one' }, { headers: from('203.0.113.10') })
    await logged(server, 'warn', 'login refused: alice from 203.0.113.10: blocked')

    const by = `from unix: uid ${process.getuid()}:`
    for (const [words, told, stdin] of [[['unblock', 'alice'], 'is unblocked, with 0 warnings'], [['block', 'alice'], 'is blocked'], [['role', 'alice', 'moderator'], 'is now moderator'],
      [['password', 'alice'], 'has a new password; all sessions ended', 'zyzzyva on a console\n'], [['delete', 'alice'], 'is deleted']]) {
      assert.equal((await server.cli(['user', ...words], { stdin })).code, 0)
      await logged(server, 'info', `command: alice ${by} alice ${told}`)
    }
    assert.equal((await server.cli(['user', 'list'])).code, 0)

    for (const word of ['zyzzyva', PASSWORD, invite, ...secrets, again.token.replaceAll('-', '')])
      for (const line of server.errors) assert.ok(!line.includes(word), `"${word}" in ${line}`)
    await server.stop()
    assert.equal(events(server).length, server.seen, 'nothing was left out')
  }, { timeout: 30_000 })
}

test('what is malformed or over a rate is told, and a flood of it counted', async () => {
  const server = await startServer({ args: [...PROXIED, '--message-rate', '2/1', '--request-rate', '20/50'] })
  const alice = await register(server, 'alice'), bob = await register(server, 'bob')
  server.seen = events(server).length
  await raw(server, 'zyzzyva\r\n\r\n')
  await logged(server, 'info', /^security: malformed: - from 127\.0\.0\.1: \w.*\.$/)
  const socket = (address, who = alice) => online(server, who, { headers: from(address) })
  const a = await socket('203.0.113.1')
  a.sendFrame('zyzzyva', { mask: false })
  await a.expectClose(1002)
  await logged(server, 'info', 'malformed: - from 203.0.113.1: protocol error')
  const b = await socket('203.0.113.2')
  b.sendFrame(Buffer.from([0xff]))
  await b.expectClose(1007)
  await logged(server, 'info', 'malformed: - from 203.0.113.2: not UTF-8')
  const c = await socket('203.0.113.3')
  for (let i = 0; i < 3; i++) c.send({ type: 'message', text: 'zyzzyva' })
  await logged(server, 'info', 'over the rate: alice from 203.0.113.3: messages')
  await c.close()
  const gets = Array.from({ length: 60 }, () => http(server, 'GET', '/api/me', { token: bob.token, headers: from('203.0.113.4') }))
  for (const { status } of await Promise.all(gets)) assert.equal(status, 200)
  const d = await socket('203.0.113.5', bob)
  for (let i = 0; i < 60; i++) d.send({ type: 'ping' })
  await eventually('all are heard', () => d.waiting('pong').length === 60)
  for (const what of ['203.0.113.4: requests', '203.0.113.5: frames']) assert.ok(events(server).some(e => e.message === `security: over the rate: bob from ${what}`), what)
  await server.stop()
  for (const address of ['203.0.113.4', '203.0.113.5']) {
    const told = events(server).filter(e => e.message.includes(address))
    assert.equal(told.length, 4, 'three lines and a sum')
    const [, more] = /^security: over the rate: (\d+) more from 203\.0\.113\.\d within a minute$/.exec(told[3].message)
    assert.ok(more <= 58, `each once, however often it had to wait: ${more}`)
  }
  for (const line of server.errors) assert.ok(!line.includes('zyzzyva'), line)
})

test('500 wrong logins are a few lines and a sum, and a good one among them is told', async () => {
  const server = await startServer({ args: [...PROXIED, '--login-rate', '5'] })
  await register(server, 'alice')
  const wrong = i => http(server, 'POST', '/api/login', { json: { username: i % 2 ? 'alice' : `guess${i}`, password: 'wrong password' }, headers: from('203.0.113.5'), timeout: 60_000 })
  const before = events(server).length
  for (let i = 0; i < 500; i += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => wrong(i + k)))
  assert.equal((await http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD }, headers: from('198.51.100.1'), timeout: 60_000 })).status, 200)
  await eventually('the good one', () => events(server).some(e => e.message.includes('login granted: alice from 198.51.100.1')))
  await server.stop()
  const told = events(server).slice(before).filter(e => e.message.includes('203.0.113.5'))
  const sums = told.map(e => / (\d+) more from 203\.0\.113\.5 within a minute$/.exec(e.message)).filter(Boolean).map(match => Number(match[1]))
  assert.ok(told.length <= 16, `${told.length} lines:\n${told.map(e => e.message).join('\n')}`)
  assert.equal(told.length - sums.length + sums.reduce((a, b) => a + b, 0), 500, 'each is told or counted')
}, { timeout: 120_000 })

test('at --log-level warn what was granted is left out, what was refused is not', async () => {
  const server = await startServer({ args: ['--log-level', 'warn', '--log-format', 'json'] })
  await register(server, 'alice')
  assert.equal((await http(server, 'POST', '/api/login', { json: { username: 'alice', password: 'wrong password' } })).status, 401)
  await logged(server, 'warn', 'login refused: alice from 127.0.0.1: bad_credentials')
  await server.stop()
})
