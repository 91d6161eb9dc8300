// Promise: the small doors are shut: no redirect leads elsewhere, nothing that a client sends comes back as a header, no path
// leads out of the page's files, no answer tells who has an account where registration is closed, and no answer is taken for
// something that it is not. (tests/asvs.md says which requirement each test is for.)

import assert from 'node:assert/strict'
import { PASSWORD, call, http, login, online, raw, refused, register, registerAdmin } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const admin = await registerAdmin(server)

/** The answers to one request line sent as these bytes. */
const asked = (line, headers = '') =>
  raw(server, `${line}\r\nHost: 127.0.0.1:${server.port}\r\n${headers}Connection: close\r\n\r\n`)

test('redirects lead to / and /login and nowhere else, whatever is asked', async () => {
  const targets = ['/', '/?next=https://evil.example/', '/?url=//evil.example', '//evil.example/', '/%2f%2fevil.example/', '/\\evil.example', '/.//evil.example', '/login?next=//evil.example',
    '/register?to=https:evil.example', '/http://evil.example/']
  for (const target of targets) {
    for (const cookie of ['', `Cookie: chatterbox=${admin.token}\r\n`, 'X-Forwarded-Host: evil.example\r\n', 'X-Forwarded-Proto: https\r\nForwarded: host=evil.example\r\n']) {
      for (const { status, headers } of await asked(`GET ${target} HTTP/1.1`, cookie)) {
        assert.ok([200, 302, 400, 404].includes(status), `${target}: ${status}`)
        assert.equal(status === 302, headers.location !== undefined)
        if (status === 302) assert.ok(['/', '/login'].includes(headers.location), `${target}: ${headers.location}`)
      }
    }
  }
})

test('nothing that a client sends becomes a header or a second answer', async () => {
  const evil = 'x%0d%0aX-Evil:%20yes%0d%0a%0d%0aHTTP/1.1%20200%20OK'
  for (const target of [`/${evil}`, `/?${evil}`, `/assets/${evil}`, `/api/rooms/1/messages?before=${evil}`, `/api/users?q=${evil}`]) {
    const answers = await asked(`GET ${target} HTTP/1.1`, `Authorization: Bearer ${admin.token}\r\nCookie: chatterbox=${evil}\r\nX-Request-Id: ${evil}\r\nOrigin: http://${evil}\r\n`)
    assert.equal(answers.length, 1, target)
    assert.equal(answers[0].headers['x-evil'], undefined)
    for (const value of Object.values(answers[0].headers).flat()) assert.ok(!/evil/i.test(value), `${target}: ${value}`)
  }
  // The policy names the host that was asked for, so a host that could say more is refused.
  for (const host of ['127.0.0.1; script-src *', '127.0.0.1 *', "localhost'unsafe-inline'", 'localhost,evil.example', 'localhost/evil.example', 'a@localhost']) {
    const [answer] = await raw(server, `GET /login HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    assert.ok([400, 421].includes(answer.status), `${host}: ${answer.status}`)
    assert.ok(!(answer.headers['content-security-policy'] ?? '').includes(host), host)
  }
})

test('no path leads out of the files of the page', async () => {
  for (const path of ['/assets/../README.md', '/assets/%2e%2e/chatterbox.db', '/assets/..%2f..%2fetc/passwd', '/assets/....//etc/passwd', '/assets/%00', '/assets//etc/passwd', '/assets/\\..\\x',
    '/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/assets/%c0%ae%c0%ae/x', '/chatterbox.db', '/data/chatterbox.db', '/.git/config', '/assets/']) {
    const [{ status, body }] = await asked(`GET ${path} HTTP/1.1`, `Authorization: Bearer ${admin.token}\r\n`)
    assert.ok([400, 404].includes(status), `${path}: ${status}`)
    assert.ok(!/root:|SQLite/.test(String(body)))
  }
})

test('names with slashes, dots and drive letters are no names', async () => {
  for (const name of ['../alice', 'a/b', 'a\\b', '.', '..', 'a:b', 'con.', 'a\u0000b', 'a\nb', '%2e%2e']) {
    await refused(server, 'POST', '/api/register', { json: { username: name, password: PASSWORD } }, 422, 'bad_username')
    await refused(server, 'POST', '/api/rooms', { token: admin.token, json: { name: `${name}/x` } }, 422, 'bad_name')
  }
})

test('every answer says what it is, and that nobody is to guess or frame it', async () => {
  await register(server, 'sniff')
  const answers = [['GET', '/login'], ['GET', '/api/me'], ['GET', '/nowhere'], ['GET', '/healthz'], ['POST', '/login'], ['GET', '/ws'], ['GET', '/metrics'], ['PUT', '/api/me']]
  for (const [method, path] of answers) {
    for (const by of [{}, { token: admin.token }]) {
      const res = await http(server, method, path, by)
      assert.equal(res.headers['x-content-type-options'], 'nosniff', path)
      assert.equal(res.headers['x-frame-options'], 'DENY', path)
      assert.match(res.headers['content-security-policy'], /frame-ancestors 'none'/, path)
      if (res.body.length) assert.match(res.headers['content-type'], /^(text\/html; charset=utf-8|application\/json|text\/plain)/, path)
      assert.equal(res.headers['access-control-allow-origin'], undefined, path)
      assert.equal(res.headers.server, undefined, 'the version is nobody\'s business')
    }
  }
  const html = await http(server, 'GET', '/api/rooms/<script>alert(1)</script>', { token: admin.token })
  assert.match(html.headers['content-type'], /json/)
  assert.ok(!html.text.includes('<script>'))
})

test('where registration is closed, a guessed invitation does not tell which names are taken', async () => {
  const closed = await startServer({ args: ['--registration', 'closed'] })
  await registerAdmin(closed, 'boss')
  const tries = await Promise.all(['boss', 'nobody'].map(username => http(closed, 'POST', '/api/register', { json: { username, password: PASSWORD, invite: 'f'.repeat(32) } })))
  assert.deepEqual(tries.map(r => [r.status, r.json.error]), [[403, 'bad_invite'], [403, 'bad_invite']])
  for (const username of ['boss', 'nobody']) await refused(closed, 'POST', '/api/register', { json: { username, password: PASSWORD } }, 403, 'registration_closed')
})

test('a blocked account is not told from another one without its password', async () => {
  const carl = await register(server, 'carl')
  assert.equal((await server.cli(['user', 'block', 'carl'])).code, 0)
  const [known, unknown] = await Promise.all(['carl', 'not-carl'].map(username => http(server, 'POST', '/api/login', { json: { username, password: 'not the password' } })))
  assert.equal(known.status, 401)
  assert.equal(known.text, unknown.text)
  await refused(server, 'POST', '/api/login', { json: { username: 'carl', password: PASSWORD } }, 403, 'blocked')
  await refused(server, 'GET', '/api/me', { token: carl.token }, 403, 'blocked')
})

test('a new password ends what the old one opened, and what it opens is another token', async () => {
  const before = await register(server, 'rota'), elsewhere = await login(server, 'rota')
  const socket = await online(server, elsewhere)
  await call(server, 'POST', '/api/me/password', { token: before.token, json: { old: PASSWORD, new: 'quite another one' } }, 204)
  await socket.expectClose(4001)
  await refused(server, 'GET', '/api/me', { token: elsewhere.token }, 401)
  const after = await login(server, 'rota', 'quite another one')
  assert.ok(![before.token, elsewhere.token].includes(after.token))
  // The administrator's command ends them all, and so a stolen session of the owner too.
  assert.equal((await server.cli(['user', 'password', 'rota'], { stdin: 'set for the owner\n' })).code, 0)
  for (const token of [before.token, after.token]) await refused(server, 'GET', '/api/me', { token }, 401)
})

test('common passwords are refused, in every spelling, and long ones of any kind are taken', async () => {
  for (const password of ['password', 'Passw0rd!', 'QWERTYuiop', '1q2w3e4r', '12345678', 'iloveyou2', 'abcabcabc', 'chatterbox', 'weakling-user'])
    await refused(server, 'POST', '/api/register', { json: { username: 'weakling-user', password } }, 422, 'bad_password')
  await register(server, 'free-1', { password: 'all lower case words' })
  await register(server, 'free-2', { password: '8301 4417 2250' })
})

test('a token is 122 random bits, and near ones are nothing', async () => {
  const tokens = new Set()
  for (let i = 0; i < 8; i++) tokens.add((await login(server, 'free-1', 'all lower case words')).token)
  assert.equal(tokens.size, 8)
  for (const token of tokens) {
    assert.match(token, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    for (const near of [token.slice(0, -1), `${token}0`, token.slice(0, -1) + (token.endsWith('0') ? '1' : '0'), token.replaceAll('-', ''), `${token}\u00a0`])
      await refused(server, 'GET', '/api/me', { headers: { Authorization: Buffer.from(`Bearer ${near}`).toString('latin1') } }, 401)
  }
})
