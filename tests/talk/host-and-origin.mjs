// Promise: a foreign page can neither reach the server by a name of its own (421) nor change anything or open a socket
// in somebody's name (403), and a proxy's headers count only when it is trusted (PROTOCOL §2.2).

import assert from 'node:assert/strict'
import { PASSWORD, call, cookieOf, http, login, refused, register, registerAdmin, tcp, parseResponses, ws, wsRefused } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const ALLOWED = 'https://chat.example.org'
const server = await startServer({ args: ['--allow-origin', ALLOWED, '--allow-origin', 'http://other.example.org:8080'] })
const alice = await register(server, 'alice')
const { port } = server

test('hosts that no foreign DNS can name are answered', async () => {
  for (const host of [`127.0.0.1:${port}`, '127.0.0.1', '10.1.2.3:99', `[::1]:${port}`, '[fe80::1]', 'localhost', 'LocalHost', `localhost:${port}`, 'chat', 'chat:8000', 'chat.local',
    'CHAT.LOCAL', 'my.chat.local', 'chat.lan', 'nas.lan:8000', 'chat.home.arpa', 'chat.internal', 'chat.example.org', 'CHAT.Example.org', 'other.example.org:8080']) {
    assert.equal((await http(server, 'GET', '/login', { headers: { Host: host } })).status, 200, host)
  }
})

test('others are 421 bad_host, with a sentence that names the option', async () => {
  for (const host of ['example.com', `evil.example.com:${port}`, '127.0.0.1.example.com', 'local.example.com', 'chat.localx', 'chat.xlan', 'xhome.arpa.example', 'example.internal.com',
    'example.org', 'x.chat.example.org', 'localhost.example.com', '1.2.3.4.5', 'chat.local.example']) {
    const res = await refused(server, 'GET', '/login', { headers: { Host: host } }, 421, 'bad_host')
    assert.match(res.json.message, /--allow-origin/, host)
  }
  await refused(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD }, headers: { Host: 'example.com' } }, 421, 'bad_host')
  await wsRefused(server, { token: alice.token, host: 'example.com' }, 421, 'bad_host')
})

test('/healthz is exempt', async () => {
  assert.equal((await http(server, 'GET', '/healthz', { headers: { Host: 'example.com' } })).status, 200)
})

const patch = headers => http(server, 'PATCH', '/api/me', { token: alice.token, json: { status: 'x' }, headers })

test('an Origin that is the Host may change things', async () => {
  for (const [host, origin] of [
    [`127.0.0.1:${port}`, `http://127.0.0.1:${port}`], [`localhost:${port}`, `http://localhost:${port}`], [`localhost:${port}`, `HTTP://LOCALHOST:${port}`],
    [`LOCALHOST:${port}`, `http://localhost:${port}`], [`[::1]:${port}`, `http://[::1]:${port}`], ['localhost:80', 'http://localhost'], ['localhost', 'http://localhost:80'],
    ['localhost', 'http://localhost'], ['localhost:443', 'https://localhost'],
    ['chat.example.org', ALLOWED], [`127.0.0.1:${port}`, ALLOWED], [`127.0.0.1:${port}`, 'http://other.example.org:8080'], [`127.0.0.1:${port}`, 'https://CHAT.example.org'],
  ]) {
    const res = await patch({ Host: host, Origin: origin })
    assert.equal(res.status, 200, `Host ${host}, Origin ${origin}: ${res.text}`)
  }
})

const FOREIGN = ['null', 'http://evil.example', `http://127.0.0.1:${port + 1}`, 'http://127.0.0.1', `http://localhost:${port}`, `http://127.0.0.1:${port}.evil.example`,
  `http://127.0.0.1:${port} http://evil.example`, `http://evil.example http://127.0.0.1:${port}`, `http://127.0.0.1:${port}, http://evil.example`, `http://127.0.0.1:${port}@evil.example`,
  'file://', '127.0.0.1', `//127.0.0.1:${port}`, `http://x.127.0.0.1:${port}`, 'http://other.example.org', 'http://other.example.org:8081']

test('any other Origin is 403 bad_origin, whatever the credential', async () => {
  for (const origin of FOREIGN) {
    for (const by of [{ token: alice.token }, { cookie: alice.token }, {}]) {
      const res = await http(server, 'PATCH', '/api/me', { ...by, json: { status: 'hacked' }, headers: { Origin: origin, 'Sec-Fetch-Site': 'same-origin' } })
      assert.equal(res.status, 403, `${origin}: ${res.status}`)
      assert.equal(res.json.error, 'bad_origin', origin)
    }
  }
  await refused(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD }, headers: { Origin: 'http://evil.example' } }, 403, 'bad_origin')
  await refused(server, 'POST', '/api/register', { json: { username: 'mallory', password: PASSWORD }, headers: { Origin: 'http://evil.example' } }, 403, 'bad_origin')
  const { user } = await call(server, 'GET', '/api/me', { token: alice.token })
  assert.notEqual(user.status, 'hacked')
})

test('several Origins never match, in one header or in two, and neither does an empty one', async () => {
  const body = '{"status":"hacked"}'
  for (const lines of [`Origin: http://127.0.0.1:${port}\r\nOrigin: http://127.0.0.1:${port}`, `Origin: http://127.0.0.1:${port}\r\nOrigin: http://evil.example`,
    `Origin: http://127.0.0.1:${port}, http://127.0.0.1:${port}`, 'Origin:']) {
    const conn = tcp(server)
    conn.write(`PATCH /api/me HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${alice.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n${lines}\r\n\r\n${body}`)
    await conn.closed
    const [answer] = parseResponses(conn.bytes())
    assert.equal(answer.status, 403, lines)
    assert.equal(JSON.parse(answer.text).error, 'bad_origin')
  }
})

test('reading with a foreign Origin is answered, and never with leave to read it', async () => {
  const res = await http(server, 'GET', '/api/me', { token: alice.token, headers: { Origin: 'http://evil.example' } })
  assert.equal(res.status, 200)
  assert.ok(!Object.keys(res.headers).some(name => name.startsWith('access-control-')))
})

test('by cookie a change needs a matching Origin or Sec-Fetch-Site: same-origin', async () => {
  const by = headers => http(server, 'PATCH', '/api/me', { cookie: alice.token, json: { status: 'c' }, headers })
  assert.equal((await by({})).status, 403)
  assert.equal((await by({})).json.error, 'bad_origin')
  for (const site of ['cross-site', 'same-site', 'none', '']) assert.equal((await by({ 'Sec-Fetch-Site': site })).status, 403, site)
  assert.equal((await by({ 'Sec-Fetch-Site': 'same-origin' })).status, 200)
  assert.equal((await by({ Origin: `http://127.0.0.1:${port}` })).status, 200)
  assert.equal((await by({ Origin: 'http://evil.example', 'Sec-Fetch-Site': 'same-origin' })).status, 403)
  // A login is by its password, whoever's cookie comes along; so a program that keeps cookies can log in again.
  const again = headers => http(server, 'POST', '/api/login', { cookie: alice.token, json: { username: 'alice', password: PASSWORD }, headers })
  assert.equal((await again({ Origin: 'http://evil.example' })).status, 403)
  const { status, json } = await again({})
  assert.equal(status, 200)
  assert.notEqual(json.token, alice.token)
  alice.token = json.token
  assert.equal((await http(server, 'GET', '/api/me', { cookie: alice.token })).status, 200)
})

test('the handshake: a foreign Origin is 403, a missing one is let through', async () => {
  for (const origin of FOREIGN) {
    for (const by of [{ token: alice.token }, { cookie: alice.token }, { bearer: alice.token }]) await wsRefused(server, { ...by, origin }, 403, 'bad_origin')
  }
  await wsRefused(server, { token: alice.token, headers: { Origin: [`http://127.0.0.1:${port}`, `http://127.0.0.1:${port}`] } }, 403, 'bad_origin')
  for (const options of [{ cookie: alice.token }, { cookie: alice.token, origin: `http://127.0.0.1:${port}` }, { token: alice.token, origin: ALLOWED }]) {
    await (await ws(server, options)).close()
  }
})

test('without --trust-proxy the headers of a proxy are ignored', async () => {
  const res = await http(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD }, headers: { 'X-Forwarded-For': '203.0.113.5', 'X-Forwarded-Proto': 'https' } })
  assert.equal(cookieOf(res), res.json.token)
  const { sessions } = await call(server, 'GET', '/api/me/sessions', { token: res.json.token })
  assert.match(sessions.find(s => s.current).address, /^127\.0\.0\.1/)
})

test('with it they tell the address and TLS, and over TLS only the __Host- cookie is read', async () => {
  const proxied = await startServer({ args: ['--trust-proxy', '127.0.0.0/8', '--trust-proxy', '10.0.0.0/8'] })
  await registerAdmin(proxied)
  const enter = headers => http(proxied, 'POST', '/api/login', { json: { username: 'root', password: PASSWORD }, headers })
  for (const [chain, address] of [
    ['203.0.113.5', '203.0.113.5'], ['6.6.6.6, 203.0.113.9', '203.0.113.9'], ['6.6.6.6, 203.0.113.9, 10.2.3.4', '203.0.113.9'], ['6.6.6.6,203.0.113.9 , 10.2.3.4,127.0.0.1', '203.0.113.9'],
    ['2001:db8::7', '2001:db8::7'],
  ]) {
    const { token } = (await enter({ 'X-Forwarded-For': chain })).json
    const { sessions } = await call(proxied, 'GET', '/api/me/sessions', { token })
    assert.ok(sessions.find(s => s.current).address.startsWith(address), `${chain}: ${sessions.find(s => s.current).address}`)
  }
  const tls = { 'X-Forwarded-For': '203.0.113.5', 'X-Forwarded-Proto': 'https' }
  const res = await enter(tls)
  const line = res.headers['set-cookie'].find(c => c.startsWith('__Host-chatterbox='))
  assert.ok(line, `${res.headers['set-cookie']}`)
  assert.match(line, /;\s*Secure/i)
  assert.match(line, /;\s*HttpOnly/i)
  assert.match(line, /;\s*SameSite=Strict/i)
  assert.match(line, /;\s*Path=\/(;|$)/i)
  const { token } = res.json
  assert.equal((await http(proxied, 'GET', '/api/me', { headers: { ...tls, Cookie: `__Host-chatterbox=${token}` } })).status, 200)
  assert.equal((await http(proxied, 'GET', '/api/me', { headers: { ...tls, Cookie: `chatterbox=${token}` } })).status, 401)
  assert.equal((await http(proxied, 'GET', '/api/me', { headers: { Cookie: `__Host-chatterbox=${token}` } })).status, 401)
  await login(proxied, 'root')
  await proxied.stop()
})
