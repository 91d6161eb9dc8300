// Promise: plain HTTP manners (PROTOCOL §2.1): every answer carries the security headers, HEAD works wherever GET does,
// a wrong method is 405 with Allow, an unknown path 404; assets are cached, compressed and revalidated as they say.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { PASSWORD, call, http, parseResponses, raw, register, registerAdmin, tcp } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const admin = await registerAdmin(server)
const alice = await register(server, 'alice')
const HOST = `127.0.0.1:${server.port}`

const loginPage = await http(server, 'GET', '/login')
const registerPage = await http(server, 'GET', '/register')
const chatPage = await http(server, 'GET', '/', { cookie: alice.token })
const assets = [...new Set([loginPage, registerPage, chatPage].flatMap(page => [...page.text.matchAll(/(?:src|href)="(\/assets\/[^"#?]+)/g)].map(m => m[1])))]

/** Allowed methods of every path of this version; each other one is 405. */
const PATHS = {
  '/': 'GET HEAD', '/login': 'GET HEAD', '/register': 'GET HEAD', '/healthz': 'GET HEAD', '/metrics': 'GET HEAD', '/ws': 'GET HEAD',
  '/api/register': 'POST', '/api/login': 'POST', '/api/logout': 'POST', '/api/me': 'GET HEAD PATCH', '/api/me/password': 'POST',
  '/api/me/sessions': 'GET HEAD', '/api/me/sessions/1': 'DELETE', '/api/users': 'GET HEAD', '/api/rooms': 'GET HEAD POST', '/api/rooms/1': 'PATCH',
  '/api/rooms/1/members': 'GET HEAD POST', '/api/rooms/1/members/alice': 'DELETE', '/api/rooms/1/messages': 'GET HEAD',
}

function checkSecurity(res, host, what) {
  const h = res.headers
  assert.equal(h['x-content-type-options'], 'nosniff', what)
  assert.equal(h['referrer-policy'], 'no-referrer', what)
  assert.equal(h['cross-origin-opener-policy'], 'same-origin', what)
  assert.equal(h['cross-origin-resource-policy'], 'same-origin', what)
  assert.equal(h['x-frame-options'], 'DENY', what)
  const csp = Object.fromEntries((h['content-security-policy'] ?? '').split(';').map(p => p.trim().split(/\s+/)).map(([k, ...v]) => [k, v]))
  for (const from of ['default-src', 'base-uri', 'frame-ancestors']) assert.deepEqual(csp[from], ["'none'"], `${what}: ${from} in ${h['content-security-policy']}`)
  assert.ok(!/unsafe|\*|data:.*script|https:/.test((h['content-security-policy'] ?? '').replace(/img-src[^;]*/, '')), what)
  if (host) assert.deepEqual([...csp['connect-src']].sort(), ["'self'", `ws://${host}`, `wss://${host}`].sort(), what)
}

test('every kind of answer carries the security headers', async () => {
  const answers = {
    page: loginPage,
    chat: chatPage,
    redirect: await http(server, 'GET', '/'),
    asset: await http(server, 'GET', assets[0]),
    health: await http(server, 'GET', '/healthz'),
    metrics: await http(server, 'GET', '/metrics'),
    api: await http(server, 'GET', '/api/me', { token: alice.token }),
    unauthorized: await http(server, 'GET', '/api/me'),
    missing: await http(server, 'GET', '/nowhere'),
    method: await http(server, 'DELETE', '/login'),
    body: await http(server, 'POST', '/api/login', { body: '{', headers: { 'Content-Type': 'application/json' } }),
    type: await http(server, 'POST', '/api/login', { body: '{}' }),
    foreign: await http(server, 'POST', '/api/login', { json: {}, headers: { Origin: 'http://evil.example' } }),
  }
  for (const [what, res] of Object.entries(answers)) checkSecurity(res, HOST, what)
  checkSecurity(await http(server, 'GET', '/login', { headers: { Host: 'evil.example.com' } }), null, 'bad host')
  checkSecurity((await raw(server, 'GET / HTTP/1.1\r\n\r\n'))[0], null, 'bad request')
  checkSecurity((await raw(server, `GET /ws HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`))[0], HOST, 'not a handshake')
})

test('API answers, good and bad, are never stored', async () => {
  for (const [method, path, options] of [
    ['GET', '/api/me', { token: alice.token }], ['GET', '/api/me', {}], ['GET', '/api/nowhere', {}], ['PUT', '/api/me', {}],
    ['GET', '/api/rooms/1/messages', { token: alice.token }], ['POST', '/api/login', { json: {} }],
  ]) {
    const res = await http(server, method, path, options)
    assert.match(res.headers['cache-control'] ?? '', /no-store/, `${method} ${path} ${res.status}`)
  }
})

test('a page is not stored for the next person either', () => {
  assert.match(chatPage.headers['cache-control'] ?? '', /no-store|no-cache|private/)
})

test('a known path with another method is 405 with Allow', async () => {
  for (const [path, allowed] of Object.entries(PATHS)) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      if (allowed.split(' ').includes(method)) continue
      const res = await http(server, method, path, { token: alice.token })
      assert.equal(res.status, 405, `${method} ${path} gave ${res.status}`)
      const allow = (res.headers.allow ?? '').split(/,\s*/)
      for (const name of allowed.split(' ')) assert.ok(allow.includes(name), `${method} ${path}: Allow is ${res.headers.allow}, lacks ${name}`)
      assert.ok(!allow.includes(method))
    }
  }
})

test('an unknown path is 404, and so is what is not built yet', async () => {
  for (const [method, path] of [
    ['GET', '/nowhere'], ['GET', '/api'], ['GET', '/api/'], ['GET', '/api/nowhere'], ['GET', '/api/me/'], ['GET', '/login/'], ['GET', '//'], ['GET', '/index.html'], ['GET', '/assets/'],
    ['GET', '/assets/nothing.js'], ['GET', '/api/rooms/1/nowhere'], ['POST', '/api/direct'], ['GET', '/api/search?q=x'], ['POST', '/api/files?room=1&name=a'],
    ['GET', '/files/1/a'], ['GET', '/api/invites'], ['POST', '/api/tokens'], ['GET', '/api/hooks'], ['POST', '/hooks/6f9619ff-8b86-4d11-b42d-00c04fc964ff'], ['GET', '/api/admin/users'],
    ['GET', '/.git/config'], ['GET', '/chatterbox.db'], ['GET', '/data/chatterbox.db'],
  ]) {
    const res = await http(server, method, path, { token: admin.token })
    assert.equal(res.status, 404, `${method} ${path} gave ${res.status} ${res.text.slice(0, 100)}`)
  }
  assert.equal((await http(server, 'GET', '/api/nowhere')).json.error, 'not_found')
})

test('HEAD gives what GET gives, without the body', async () => {
  for (const path of ['/', '/login', '/register', '/healthz', '/metrics', '/api/me', '/api/users', '/api/rooms', '/api/rooms/1/members', '/api/rooms/1/messages', '/nowhere', assets[0]]) {
    const head = `Host: ${HOST}\r\nAuthorization: Bearer ${alice.token}\r\nCookie: chatterbox=${alice.token}\r\nConnection: close\r\n\r\n`
    const conn = tcp(server)
    conn.write(`HEAD ${path} HTTP/1.1\r\n${head}`)
    await conn.closed
    const [res] = parseResponses(conn.bytes(), { heads: true })
    const [get] = await raw(server, `GET ${path} HTTP/1.1\r\n${head}`)
    assert.ok(conn.text().endsWith('\r\n\r\n'), `HEAD ${path} came with a body`)
    assert.equal(res.status, get.status, path)
    assert.equal(res.headers['content-type'], get.headers['content-type'], path)
    if (path !== '/metrics') assert.equal(res.headers['content-length'], get.headers['content-length'], path)
  }
  // What is malformed too.
  for (const [request, status] of [['HEAD login HTTP/1.1', 400], ['HEAD //x y HTTP/1.1', 400], [`HEAD /${'a'.repeat(9000)} HTTP/1.1`, 414], [`HEAD /login HTTP/1.1\r\nX: ${'a'.repeat(9000)}`, 431]]) {
    const conn = tcp(server)
    conn.write(`${request}\r\nHost: ${HOST}\r\n\r\n`)
    await conn.closed
    assert.equal(Number(conn.text().slice(9, 12)), status)
    assert.ok(conn.text().endsWith('\r\n\r\n'), `${request.slice(0, 20)}: a body`)
  }
})

test('pages redirect by session', async () => {
  const anonymous = await http(server, 'GET', '/')
  assert.equal(anonymous.status, 302)
  assert.equal(anonymous.headers.location, '/login')
  const dead = await http(server, 'GET', '/', { cookie: '00000000-0000-4000-8000-000000000000' })
  assert.equal(dead.headers.location, '/login')
  assert.equal(chatPage.status, 200)
  for (const path of ['/login', '/register']) {
    assert.equal((await http(server, 'GET', path)).status, 200)
    const res = await http(server, 'GET', path, { cookie: alice.token })
    assert.equal(res.status, 302, path)
    assert.equal(res.headers.location, '/')
  }
})

test('pages hold no inline script or style and nothing from another origin', () => {
  for (const page of [loginPage, registerPage, chatPage]) {
    assert.match(page.headers['content-type'], /^text\/html; ?charset=utf-8$/i)
    assert.ok(!/<script(?![^>]*\ssrc=)[^>]*>/i.test(page.text), 'an inline script')
    assert.ok(!/<style|\sstyle=|\son[a-z]+=/i.test(page.text), 'inline style or handler')
    assert.ok(!/(?:src|href|action)="(?:https?:)?\/\//i.test(page.text), 'another origin')
  }
})

test('assets: type, ETag, Vary, gzip by Accept-Encoding, 304, immutable', async () => {
  assert.ok(assets.length >= 3, `the pages name ${assets}`)
  for (const path of assets) {
    const plain = await http(server, 'GET', path)
    assert.equal(plain.status, 200, path)
    assert.match(plain.headers['content-type'], /javascript|css|svg|json|png|font|icon/, path)
    assert.match(plain.headers.etag, /^(W\/)?"[^"]+"$/, path)
    assert.equal(plain.headers['content-encoding'], undefined)
    const zipped = await http(server, 'GET', path, { headers: { 'Accept-Encoding': 'br;q=1.0, gzip;q=0.8, *;q=0.1' } })
    if (zipped.headers['content-encoding'] === 'gzip') {
      assert.deepEqual(gunzipSync(zipped.body), plain.body, path)
      assert.match(zipped.headers.vary ?? '', /accept-encoding/i, path)
      assert.match(plain.headers.vary ?? '', /accept-encoding/i, path)
      assert.ok(zipped.body.length < plain.body.length)
    } else assert.ok(!/javascript|css/.test(plain.headers['content-type']), `${path} is not compressed`)
    for (const refusal of ['identity', 'gzip;q=0', 'gzip; q=0.0, identity', 'br', 'xgzip', '']) {
      const res = await http(server, 'GET', path, { headers: { 'Accept-Encoding': refusal } })
      assert.equal(res.headers['content-encoding'], undefined, `${path} with Accept-Encoding: ${refusal}`)
    }
    for (const res of [plain, zipped]) {
      const { etag } = res.headers
      const encoding = res.headers['content-encoding'] ? { 'Accept-Encoding': 'gzip' } : {}
      for (const match of [etag, `"other", ${etag}`, '*', `W/${etag.replace(/^W\//, '')}`]) {
        const again = await http(server, 'GET', path, { headers: { 'If-None-Match': match, ...encoding } })
        assert.equal(again.status, 304, `${path} If-None-Match: ${match}`)
        assert.equal(again.body.length, 0)
        assert.equal(again.headers.etag, etag)
      }
      assert.equal((await http(server, 'GET', path, { headers: { 'If-None-Match': '"other"', ...encoding } })).status, 200)
    }
    const cache = plain.headers['cache-control'] ?? ''
    if (/[./-][0-9a-f]{8,}[./]/.test(path)) assert.match(cache, /immutable/, path)
    else assert.ok(!/immutable/.test(cache), `${path} may change`)
  }
  assert.ok(assets.some(path => /[./-][0-9a-f]{8,}[./]/.test(path)), 'some names carry a hash of the content')
})

test('/healthz is 200 ok', async () => {
  const res = await http(server, 'GET', '/healthz?probe=1')
  assert.equal(res.status, 200)
  assert.equal(res.text.trim(), 'ok')
})

test('/metrics is for administrators, and for loopback only when nobody forwarded the request', async () => {
  const open = await http(server, 'GET', '/metrics')
  assert.equal(open.status, 200)
  assert.match(open.headers['content-type'], /^text\/plain/)
  assert.match(open.text, /^[a-z_]+(\{[^}]*\})? [0-9.e+-]+$/m)
  for (const [name, value] of [['Forwarded', 'for=1.2.3.4'], ['X-Forwarded-For', '1.2.3.4'], ['Via', '1.1 proxy']]) {
    const headers = { [name]: value }
    const anonymous = await http(server, 'GET', '/metrics', { headers })
    assert.ok([401, 403, 404].includes(anonymous.status), `${name}: ${anonymous.status}`)
    const user = await http(server, 'GET', '/metrics', { headers, token: alice.token })
    assert.ok([403, 404].includes(user.status), `${name} as user: ${user.status}`)
    assert.equal((await http(server, 'GET', '/metrics', { headers, token: admin.token })).status, 200, name)
  }
})

test('… and over a Unix socket for administrators alone: who comes there comes through a proxy, which may send no header', async () => {
  const socketPath = join(temporary(), 'socket')
  const behind = await startServer({ args: ['--listen', '127.0.0.1:0', '--listen', `unix:${socketPath}`, '--trust-proxy', 'unix'] })
  const root = await registerAdmin(behind)
  assert.equal((await http(behind, 'GET', '/metrics', { socketPath })).status, 401)
  assert.equal((await http(behind, 'GET', '/healthz', { socketPath })).status, 200)
  assert.equal((await http(behind, 'GET', '/metrics', { socketPath, token: root.token })).status, 200)
  assert.equal((await http(behind, 'GET', '/metrics')).status, 200)
  await behind.stop()
})

test('connections are kept, and pipelined requests answered in order', async () => {
  const conn = tcp(server)
  const one = path => `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
  conn.write(one('/healthz') + one('/nowhere') + one('/healthz') + `GET /login HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`)
  await conn.closed
  assert.deepEqual(parseResponses(conn.bytes()).map(r => r.status), [200, 404, 200, 200])
})

test('pipelined requests that change something keep their order too', async () => {
  const conn = tcp(server)
  const patch = name => {
    const body = JSON.stringify({ display_name: name })
    return `PATCH /api/me HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${alice.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  }
  conn.write(patch('one') + patch('two') + patch('three') + `GET /api/me HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${alice.token}\r\nConnection: close\r\n\r\n`)
  await conn.closed
  assert.deepEqual(parseResponses(conn.bytes()).map(r => JSON.parse(r.text).user.display_name), ['one', 'two', 'three', 'three'])
})

test('a request may come byte by byte, its body in chunks', async () => {
  const body = JSON.stringify({ username: 'alice', password: PASSWORD })
  const text = `POST /api/login HTTP/1.1\r\nHost: ${HOST}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n` +
    `${(5).toString(16)}\r\n${body.slice(0, 5)}\r\n${(body.length - 5).toString(16)}\r\n${body.slice(5)}\r\n0\r\n\r\n`
  const conn = tcp(server)
  conn.socket.setNoDelay(true)
  for (const byte of text) {
    conn.write(byte)
    await new Promise(done => setImmediate(done))
  }
  await conn.closed
  assert.equal(parseResponses(conn.bytes())[0].status, 200)
})

test('HTTP/1.0 gets an answer and a close', async () => {
  const answers = await raw(server, `GET /healthz HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`)
  assert.deepEqual(answers.map(r => r.status), [200])
})

test('Expect: 100-continue does not hang a client that waits for it', async () => {
  const body = JSON.stringify({ username: 'alice', password: PASSWORD })
  const conn = tcp(server)
  conn.write(`POST /api/login HTTP/1.1\r\nHost: ${HOST}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`)
  await conn.wait(/^HTTP\/1\.1 (100|417)/)
  if (/ 100/.test(conn.text())) {
    conn.write(body)
    await conn.closed
    assert.deepEqual(parseResponses(conn.bytes()).map(r => r.status), [100, 200])
  }
})

test('an upgrade that is not a good handshake is refused and the connection is not a socket', async () => {
  const good = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' }
  for (const [what, change, status] of [
    ['no Upgrade', { Upgrade: null }, [400, 426]], ['another protocol', { Upgrade: 'h2c' }, [400, 426]], ['no Connection', { Connection: 'close' }, [400, 426]],
    ['no version', { 'Sec-WebSocket-Version': null }, [400, 426]], ['version 8', { 'Sec-WebSocket-Version': '8' }, [400, 426]],
    ['no key', { 'Sec-WebSocket-Key': null }, [400]], ['a short key', { 'Sec-WebSocket-Key': 'YWJj' }, [400]],
    ['a key that is not base64', { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' }, [400]],
  ]) {
    const lines = Object.entries({ ...good, ...change }).filter(([, v]) => v !== null).map(([k, v]) => `${k}: ${v}\r\n`).join('')
    const conn = tcp(server)
    conn.write(`GET /ws?token=${alice.token} HTTP/1.1\r\nHost: ${HOST}\r\n${lines}\r\n`)
    await conn.wait(/\r\n\r\n/)
    const code = Number(conn.text().slice(9, 12))
    assert.ok(status.includes(code), `${what}: ${code}`)
    if (what === 'version 8') assert.match(conn.text(), /sec-websocket-version: 13/i)
    conn.destroy()
  }
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
})
