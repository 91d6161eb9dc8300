// Promise: one registers and logs in over HTTP and gets a session (PROTOCOL §2.2, §2.3), and every way to get that
// wrong has its own clear answer.

import assert from 'node:assert/strict'
import { PASSWORD, call, cookieOf, http, login, refused, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { SLOW, test } from '../support/suite.mjs'

const server = await startServer()
const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** The attributes of the session cookie, lower case, as `{name: value}`. */
function cookieAttributes(res) {
  const line = res.headers['set-cookie'].find(c => /^chatterbox=/.test(c))
  return Object.fromEntries(line.split(';').slice(1).map(part => {
    const [name, value = ''] = part.trim().split('=')
    return [name.toLowerCase(), value]
  }))
}

test('registration gives 201, a token, its expiry, the user and a cookie', async () => {
  const before = Date.now()
  const res = await http(server, 'POST', '/api/register', { json: { username: 'alice', password: PASSWORD } })
  assert.equal(res.status, 201, res.text)
  const { token, expires, user } = res.json
  assert.match(token, UUID4)
  assert.ok(expires > before + 86_400_000, 'a session lasts for days')
  assert.equal(user.username, 'alice')
  assert.equal(user.role, 'user')
  assert.equal(typeof user.display_name, 'string')
  assert.ok(Number.isInteger(user.rev) && user.rev > 0)
  assert.ok(Math.abs(user.created - Date.now()) < 60_000)
  assert.equal(user.warnings, 0)
  assert.equal(user.blocked, false)
  assert.equal(cookieOf(res), token)
  const attributes = cookieAttributes(res)
  assert.ok('httponly' in attributes)
  assert.equal(attributes.samesite, 'Strict')
  assert.equal(attributes.path, '/')
  assert.ok(!('secure' in attributes), 'over plain HTTP the cookie must be sent back')
  assert.ok(!('domain' in attributes))
  assert.ok(!/password|argon|hash/i.test(res.text))
})

test('login gives 200 and a new session each time', async () => {
  const first = await login(server, 'alice')
  const res = await http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD } })
  assert.equal(res.status, 200)
  assert.match(res.json.token, UUID4)
  assert.notEqual(res.json.token, first.token)
  assert.equal(cookieOf(res), res.json.token)
  assert.equal(cookieAttributes(res).samesite, 'Strict')
  assert.equal(res.json.user.username, 'alice')
})

test('GET /api/me tells the user, the epoch, the rev and the limits; without a session 401', async () => {
  const { token } = await login(server, 'alice')
  const me = await call(server, 'GET', '/api/me', { token }, 200)
  assert.equal(me.user.username, 'alice')
  assert.match(me.epoch, /^\S{8,}$/)
  assert.ok(Number.isInteger(me.rev) && me.rev >= me.user.rev)
  assert.equal(me.limits.text, 4000)
  assert.equal(me.limits.frame, 65536)
  await refused(server, 'GET', '/api/me', {}, 401, 'unauthorized')
  await refused(server, 'GET', '/api/me', { token: 'not-a-token' }, 401, 'unauthorized')
  await refused(server, 'GET', '/api/me', { token: '00000000-0000-4000-8000-000000000000' }, 401, 'unauthorized')
  await refused(server, 'GET', '/api/me', { headers: { Authorization: `Basic ${token}` } }, 401, 'unauthorized')
})

test('an unknown name and a wrong password get the very same answer', async () => {
  const unknown = await http(server, 'POST', '/api/login', { json: { username: 'nobody-here', password: PASSWORD } })
  const wrong = await http(server, 'POST', '/api/login', { json: { username: 'alice', password: 'wrong password' } })
  assert.equal(unknown.status, 401)
  assert.equal(wrong.status, 401)
  assert.equal(unknown.json.error, 'bad_credentials')
  assert.equal(unknown.text, wrong.text)
  assert.equal(unknown.headers['set-cookie'], undefined)
})

test('… and take the same time', async () => {
  // The hash is most of the time; an answer without one would be many times quicker, so the bounds can be wide. The
  // quickest of several tries is what a busy machine disturbs least.
  const slow = await startServer({ args: ['--password-memory', '19', '--password-ops', '3'] })
  await register(slow, 'alice')
  const best = { alice: Infinity, nobody: Infinity }
  for (let i = 0; i < 24; i++) {
    const username = i % 2 ? 'alice' : 'nobody', start = process.hrtime.bigint()
    await refused(slow, 'POST', '/api/login', { json: { username, password: 'wrong password' } }, 401)
    best[username] = Math.min(best[username], Number(process.hrtime.bigint() - start))
  }
  const ratio = best.nobody / best.alice
  assert.ok(ratio > 0.25 && ratio < 4, `unknown / wrong = ${ratio}`)
  await slow.stop()
}, { timeout: 30_000, skip: SLOW > 4 ? 'it measures time' : '' })

test('a name is given once', async () => {
  await refused(server, 'POST', '/api/register', { json: { username: 'alice', password: PASSWORD } }, 409, 'name_taken')
})

test('of two registrations of one name at the same moment one wins', async () => {
  const tries = await Promise.all(Array.from({ length: 6 }, () =>
    http(server, 'POST', '/api/register', { json: { username: 'racer', password: PASSWORD } })))
  assert.deepEqual(tries.map(r => r.status).sort(), [201, 409, 409, 409, 409, 409])
})

for (const [what, password] of [
  ['shorter than 8 characters', 'seven77'],
  ['longer than 128 characters', 'x9 q7'.repeat(25) + 'end' + 'y'],
  ['a common one', 'password'],
  ['another common one', '12345678'],
  ['the username', 'passwordless-bert'],
  ['empty', ''],
]) {
  test(`a password that is ${what} is bad_password`, () =>
    refused(server, 'POST', '/api/register', { json: { username: 'passwordless-bert', password } }, 422, 'bad_password'))
}

test('passwords are counted in characters and compared after NFC', async () => {
  await register(server, 'emoji', { password: '🔑🚪🏠🌲🐦🌧🎈🧭' })
  await login(server, 'emoji', '🔑🚪🏠🌲🐦🌧🎈🧭')
  await refused(server, 'POST', '/api/register', { json: { username: 'emoji7', password: '🔑🚪🏠🌲🐦🌧🎈' } }, 422, 'bad_password')
  await register(server, 'zoe', { password: 'cafe\u0301 creme' })
  await login(server, 'zoe', 'café creme')
  await register(server, 'long', { password: 'x9 q7'.repeat(25) + 'end' })
  await login(server, 'long', 'x9 q7'.repeat(25) + 'end')
})

test('a body that is not JSON, or not of its type, has its own answer', async () => {
  const body = JSON.stringify({ username: 'typed', password: PASSWORD })
  await refused(server, 'POST', '/api/register', { body, headers: { 'Content-Type': 'text/plain' } }, 415)
  await refused(server, 'POST', '/api/register', { body }, 415)
  await refused(server, 'POST', '/api/register', { body, headers: { 'Content-Type': 'application/jsonp' } }, 415)
  const json = { 'Content-Type': 'application/json' }
  for (const bad of ['', '{', '{"username":', '{"username":"x"} trailing', 'null,', '\u{feff}{}', '{"username":"\ud800"}'.replace('\ud800', '\\ud800'),
    '['.repeat(20_000), '{"a":'.repeat(10_000)]) {
    await refused(server, 'POST', '/api/register', { body: bad, headers: json }, 400)
  }
  await refused(server, 'POST', '/api/register', { body: '{"username":"a', headers: json }, 400, 'bad_json')
  await refused(server, 'POST', '/api/register', { body: Buffer.from('{"username":"\xff\xfe"}', 'latin1'), headers: json }, 400)
  for (const bad of ['[]', '"x"', '7', 'null', '{}', '{"username":"x"}', '{"password":"12345678x"}', '{"username":7,"password":"12345678x"}',
    '{"username":"x","password":["12345678x"]}']) {
    const res = await http(server, 'POST', '/api/register', { body: bad, headers: json })
    assert.ok([400, 422].includes(res.status), `${bad} gave ${res.status}`)
  }
  await call(server, 'POST', '/api/register', { body, headers: { 'Content-Type': 'application/json; charset=utf-8' } }, 201)
})

test('unknown fields are ignored', async () => {
  const { user } = await register(server, 'extra', { role: 'admin', favourite: { colour: ['green'] }, blocked: true })
  assert.equal(user.role, 'user')
  assert.equal(user.blocked, false)
})

test('a profile is changed with PATCH /api/me, and everybody sees it', async () => {
  const bert = await register(server, 'bert')
  const { user } = await call(server, 'PATCH', '/api/me', { token: bert.token, json: { display_name: 'Bert 🐧', status: 'away' } }, 200)
  assert.equal(user.display_name, 'Bert 🐧')
  assert.equal(user.status, 'away')
  assert.ok(user.rev > bert.user.rev)
  const alice = await login(server, 'alice')
  const { users } = await call(server, 'GET', '/api/users?q=bert', { token: alice.token }, 200)
  for (const query of ['q=%ff', 'after=%ff', 'q=%zz', 'limit=%ff']) await refused(server, 'GET', `/api/users?${query}`, { token: alice.token }, 400, 'bad_request')
  const seen = users.find(u => u.username === 'bert')
  assert.equal(seen.display_name, 'Bert 🐧')
  assert.ok(!('warnings' in seen) && !('blocked' in seen), 'these are for oneself and for administrators')
  const again = await call(server, 'PATCH', '/api/me', { token: bert.token, json: { status: '' } }, 200)
  assert.equal(again.user.display_name, 'Bert 🐧')
  assert.ok(!again.user.status)
  await refused(server, 'PATCH', '/api/me', { token: bert.token, json: { display_name: 7 } }, 400, 'bad_request')
  await refused(server, 'PATCH', '/api/me', { json: { display_name: 'x' } }, 401, 'unauthorized')
})

test('a username never changes', async () => {
  const { token } = await login(server, 'bert')
  const res = await http(server, 'PATCH', '/api/me', { token, json: { username: 'ernie', display_name: 'B' } })
  assert.equal(res.status, 200)
  assert.equal(res.json.user.username, 'bert')
})

test('GET /api/users pages by cursor', async () => {
  const { token } = await login(server, 'alice')
  const all = (await call(server, 'GET', '/api/users?limit=200', { token }, 200)).users.map(u => u.username)
  assert.ok(all.length >= 6)
  assert.equal(new Set(all).size, all.length)
  const walked = []
  for (let after = ''; ;) {
    const page = await call(server, 'GET', `/api/users?limit=2&after=${encodeURIComponent(after)}`, { token }, 200)
    assert.ok(page.users.length <= 2)
    walked.push(...page.users.map(u => u.username))
    if (!page.more) break
    after = walked.at(-1)
  }
  assert.deepEqual(walked, all)
  await refused(server, 'GET', '/api/users?limit=many', { token }, 400, 'bad_request')
  await refused(server, 'GET', '/api/users', {}, 401, 'unauthorized')
})

test('--registration closed and invite', async () => {
  const closed = await startServer({ args: ['--registration', 'closed'] })
  await refused(closed, 'POST', '/api/register', { json: { username: 'late', password: PASSWORD } }, 403, 'registration_closed')
  await refused(closed, 'POST', '/api/register', { json: { username: 'late', password: PASSWORD, invite: 'guess' } }, 403)
  await closed.stop()
  const invite = await startServer({ args: ['--registration', 'invite'] })
  const none = await http(invite, 'POST', '/api/register', { json: { username: 'late', password: PASSWORD } })
  assert.equal(none.status, 403)
  assert.match(none.json.error, /^(bad_invite|registration_closed)$/)
  await refused(invite, 'POST', '/api/register', { json: { username: 'late', password: PASSWORD, invite: 'guess' } }, 403, 'bad_invite')
  await invite.stop()
})
