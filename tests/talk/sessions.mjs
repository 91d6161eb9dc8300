// Promise: a session is presented in three ways, ends at logout and at a change of password, is listed and ended by its
// owner alone, and no token that a client brings along is ever adopted (PROTOCOL §2.2, §2.3, §4).

import assert from 'node:assert/strict'
import { PASSWORD, call, cookieOf, http, login, metric, online, refused, register, ws, wsRefused } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice')
const same = { 'Sec-Fetch-Site': 'same-origin' }

test('a token is good as bearer and as cookie', async () => {
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
  await call(server, 'GET', '/api/me', { cookie: alice.token }, 200)
  for (const scheme of ['bearer', 'BEARER', 'Bearer  ', 'Bearer     ']) await call(server, 'GET', '/api/me', { headers: { Authorization: `${scheme} ${alice.token}` } })
  await refused(server, 'GET', '/api/me', { headers: { Authorization: `Bearer\t${alice.token}` } }, 401, 'unauthorized')
})

test('… and as query on the handshake only', async () => {
  await refused(server, 'GET', `/api/me?token=${alice.token}`, {}, 401, 'unauthorized')
  assert.equal((await http(server, 'GET', `/?token=${alice.token}`)).status, 302)
  await (await ws(server, { token: alice.token })).close()
  await (await ws(server, { bearer: alice.token })).close()
  await (await ws(server, { cookie: alice.token })).close()
})

test('query strings are never logged', () => {
  assert.ok(!server.log().includes(alice.token))
})

test('a handshake without a live session is 401', async () => {
  await wsRefused(server, {}, 401, 'unauthorized')
  await wsRefused(server, { token: '00000000-0000-4000-8000-000000000000' }, 401, 'unauthorized')
  await wsRefused(server, { token: 'alice' }, 401, 'unauthorized')
  await wsRefused(server, { query: { username: 'alice' } }, 401, 'unauthorized')
})

test('of several cookies the first that names a live session counts', async () => {
  const bob = await register(server, 'bob')
  const me = await call(server, 'GET', '/api/me', { headers: {
    Cookie: `theme=dark; chatterbox=; chatterbox=00000000-0000-4000-8000-000000000000; chatterbox=${bob.token}; chatterbox=${alice.token}` } }, 200)
  assert.equal(me.user.username, 'bob')
  await refused(server, 'GET', '/api/me', { headers: { Cookie: `xchatterbox=${bob.token}` } }, 401)
  await refused(server, 'GET', '/api/me', { headers: { Cookie: `__Host-chatterbox=${bob.token}` } }, 401)
})

test('a login does not adopt the token that comes along', async () => {
  const mine = '6f9619ff-8b86-4d11-b42d-00c04fc964ff'
  const res = await http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD, token: mine }, headers: { Cookie: `chatterbox=${mine}`, ...same } })
  assert.equal(res.status, 200)
  assert.notEqual(res.json.token, mine)
  assert.notEqual(cookieOf(res), mine)
  await refused(server, 'GET', '/api/me', { token: mine }, 401)
  // Another person's live session stays that person's.
  const eve = await register(server, 'eve')
  const again = await http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD }, headers: { Cookie: `chatterbox=${eve.token}`, ...same } })
  assert.notEqual(again.json.token, eve.token)
  assert.equal((await call(server, 'GET', '/api/me', { token: eve.token }, 200)).user.username, 'eve')
})

test('a login in a browser ends the session that this browser had, when it is the same person', async () => {
  const first = await login(server, 'alice'), elsewhere = await login(server, 'alice'), socket = await online(server, first)
  const again = (password, more) => http(server, 'POST', '/api/login', { json: { username: 'alice', password }, headers: same, ...more })
  assert.equal((await again('not the right one', { cookie: first.token })).status, 401)
  assert.equal((await again(PASSWORD, { token: first.token })).status, 200) // a program may have as many as it likes
  await socket.reaches(0)
  const { json: second } = await again(PASSWORD, { cookie: first.token })
  await socket.expectClose(4001)
  await refused(server, 'GET', '/api/me', { cookie: first.token }, 401, 'unauthorized')
  for (const { token } of [second, elsewhere, alice]) await call(server, 'GET', '/api/me', { cookie: token }, 200)
})

test('logout ends the session, clears the cookie and closes its sockets with 4001, no others', async () => {
  const one = await login(server, 'alice'), two = await login(server, 'alice')
  const a = await online(server, one), b = await online(server, one), other = await online(server, two)
  const res = await http(server, 'POST', '/api/logout', { cookie: one.token, headers: same })
  assert.equal(res.status, 204)
  assert.match(res.headers['set-cookie'].join(), /chatterbox=;.*(Max-Age=0|Expires=Thu, 01 Jan 1970)/i)
  await a.expectClose(4001)
  await b.expectClose(4001)
  await refused(server, 'GET', '/api/me', { token: one.token }, 401, 'unauthorized')
  await wsRefused(server, { token: one.token }, 401)
  await other.reaches(0)
  await other.close()
})

test('logout without a session is 401, and changes by cookie need to come from the page', async () => {
  await refused(server, 'POST', '/api/logout', {}, 401, 'unauthorized')
  const one = await login(server, 'alice')
  await refused(server, 'POST', '/api/logout', { cookie: one.token }, 403, 'bad_origin')
  await call(server, 'GET', '/api/me', { token: one.token }, 200)
})

test('a change of password needs the old one and ends every other session', async () => {
  const here = await register(server, 'carol'), there = await login(server, 'carol')
  const mine = await online(server, here), theirs = await online(server, there)
  const wrong = await http(server, 'POST', '/api/me/password', { token: here.token, json: { old: 'not the old one', new: 'a new long password' } })
  assert.ok([401, 403].includes(wrong.status), `${wrong.status} ${wrong.text}`)
  assert.equal(wrong.json.error, 'bad_credentials')
  await refused(server, 'POST', '/api/me/password', { token: here.token, json: { old: PASSWORD, new: 'short' } }, 422, 'bad_password')
  for (const json of [{}, { old: PASSWORD }, { new: 'a new long password' }, { old: PASSWORD, new: 7 }]) await refused(server, 'POST', '/api/me/password', { token: here.token, json }, 400, 'bad_request')
  await call(server, 'GET', '/api/me', { token: there.token }, 200)
  await call(server, 'POST', '/api/me/password', { token: here.token, json: { old: PASSWORD, new: 'a new long password' } }, 204)
  await theirs.expectClose(4001)
  await refused(server, 'GET', '/api/me', { token: there.token }, 401)
  await mine.reaches(0)
  await call(server, 'GET', '/api/me', { token: here.token }, 200)
  await refused(server, 'POST', '/api/login', { json: { username: 'carol', password: PASSWORD } }, 401, 'bad_credentials')
  await login(server, 'carol', 'a new long password')
  await mine.close()
})

test('the name of a browser is cut between characters', async () => {
  const { token } = await register(server, 'edna')
  const long = 'x'.repeat(199) + 'ää'
  await http(server, 'POST', '/api/login', { json: { username: 'edna', password: PASSWORD }, headers: { 'User-Agent': Buffer.from(long).toString('latin1') } })
  const { sessions } = await call(server, 'GET', '/api/me/sessions', { token }, 200)
  assert.equal(sessions.find(s => !s.current).agent, 'x'.repeat(199))
})

test('sessions are listed and ended one by one, by their owner', async () => {
  const here = await register(server, 'dora')
  const res = await http(server, 'POST', '/api/login', { json: { username: 'dora', password: PASSWORD }, headers: { 'User-Agent': 'telescope/3' } })
  const there = res.json
  const { sessions } = await call(server, 'GET', '/api/me/sessions', { token: here.token }, 200)
  assert.equal(sessions.length, 2)
  const [mine] = sessions.filter(s => s.current), [other] = sessions.filter(s => !s.current)
  assert.equal(other.agent, 'telescope/3')
  for (const s of sessions) {
    assert.match(s.address, /^127\.0\.0\.1/)
    assert.ok(Math.abs(s.created - Date.now()) < 60_000)
    assert.ok(s.last_used >= s.created - 1000)
    assert.ok(!JSON.stringify(s).includes(here.token) && !JSON.stringify(s).includes(there.token), 'a session is named, its token is not told')
  }
  const socket = await online(server, there)
  // Nobody else ends it, and nobody learns whether it exists.
  await refused(server, 'DELETE', `/api/me/sessions/${other.id}`, { token: alice.token }, 404, 'not_found')
  await refused(server, 'DELETE', '/api/me/sessions/999999', { token: here.token }, 404, 'not_found')
  await refused(server, 'DELETE', '/api/me/sessions/none', { token: here.token }, 404)
  await call(server, 'GET', '/api/me', { token: there.token }, 200)
  await call(server, 'DELETE', `/api/me/sessions/${other.id}`, { token: here.token }, 204)
  await socket.expectClose(4001)
  await refused(server, 'GET', '/api/me', { token: there.token }, 401)
  const left = await call(server, 'GET', '/api/me/sessions', { token: here.token }, 200)
  assert.deepEqual(left.sessions.map(s => s.id), [mine.id])
})

test('a user has 32 sessions; the longest unused goes', async () => {
  const first = await register(server, 'frank')
  const socket = await online(server, await login(server, 'frank'))
  let last
  for (let i = 0; i < 31; i++) last = await login(server, 'frank')
  const { sessions } = await call(server, 'GET', '/api/me/sessions', { token: last.token }, 200)
  assert.equal(sessions.length, 32)
  await refused(server, 'GET', '/api/me', { token: first.token }, 401, 'unauthorized')
  await socket.reaches(0)
  await socket.close()
}, { timeout: 20_000 })

test('sessions outlive a restart of the server', async () => {
  const person = await register(server, 'gina')
  await server.restart()
  await call(server, 'GET', '/api/me', { token: person.token }, 200)
  await (await online(server, person)).close()
})

test('who comes back after a restart costs no write: when a session was last used is known already', async () => {
  const people = await Promise.all(Array.from({ length: 5 }, (_, i) => register(server, `back${i}`)))
  await server.restart()
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
  const before = await metric(server, 'operations')
  for (const person of people) await call(server, 'GET', '/api/me', { token: person.token }, 200)
  const sockets = await Promise.all(people.map(person => online(server, person)))
  assert.equal(await metric(server, 'operations'), before)
  await Promise.all(sockets.map(socket => socket.close()))
})
