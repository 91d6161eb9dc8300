// Promise: HTTP/1.1 is read in one way only (RFC 9112), and answered as RFC 9110 says. Every malformed request of the table is
// refused alone, byte by byte, cut in two, and behind a good request; exactly what came before it is answered, and nothing
// behind it is ever read as a request. Every good one of the second table gets its answer in the same ways.

import assert from 'node:assert/strict'
import { http, metric, parseResponses, register, tcp } from '../support/client.mjs'
import { malformed } from '../support/malformed.mjs'
import { startServer } from '../support/server.mjs'
import { test, random, within } from '../support/suite.mjs'

const full = process.env.CONFORM === 'full'
const server = await startServer()
const alice = await register(server, 'alice')
const H = `127.0.0.1:${server.port}`
const HOST = `Host: ${H}\r\n`
const GOOD = `GET /login?before HTTP/1.1\r\n${HOST}\r\n`
const BEHIND = `GET /healthz?behind HTTP/1.1\r\n${HOST}\r\n`
const turn = () => new Promise(done => setImmediate(done))

const WAYS = {
  alone: (conn, bytes) => conn.write(bytes),
  'byte by byte': async (conn, bytes) => {
    // Long ones are given in steps: their length is the point, not each of their bytes.
    const step = bytes.length > 2000 ? 97 : 1
    for (let i = 0; i < bytes.length && !conn.ended; i += step) { conn.write(bytes.subarray(i, i + step)); await turn() }
  },
  'cut in two': async (conn, bytes) => {
    const at = random.below(bytes.length)
    conn.write(bytes.subarray(0, at))
    await turn()
    await turn()
    conn.write(bytes.subarray(at))
  },
}

/** Sends bytes in a way and reads to the close; the answers. */
async function answers(bytes, way, heads = false) {
  const conn = tcp(server)
  conn.socket.setNoDelay(true)
  try {
    await way(conn, bytes)
    await within(10_000, `the close; got ${JSON.stringify(conn.text().slice(0, 200))}`, conn.closed)
  } finally { conn.destroy() }
  return parseResponses(conn.bytes(), { heads })
}

for (const [group, rows] of Object.entries(malformed(H, alice.token))) {
  for (const [what, request, allowed = [400]] of rows) {
    const bytes = Buffer.from(request), behind = Buffer.from(BEHIND), heads = /^HEAD/.test(String(request))
    test(`${group}: ${what}`, async () => {
      for (const [name, way] of Object.entries(WAYS)) {
        const [res, ...more] = await answers(Buffer.concat([bytes, behind]), way, heads)
        assert.deepEqual([allowed.includes(res?.status), more.length], [true, 0], `${name}: ${res?.status} and ${more.map(r => r.status)}; wanted ${allowed}`)
        assert.equal(res.headers.connection, 'close', name)
        if (!heads) assert.match(JSON.parse(res.text).error, /^[a-z_]+$/, name)
      }
      const [first, second, ...more] = await answers(Buffer.concat([Buffer.from(GOOD), bytes, behind]), WAYS.alone)
      assert.deepEqual([first.status, allowed.includes(second?.status), more.length], [200, true, 0], `behind a good one: ${first.status} ${second?.status}`)
      assert.match(first.headers['content-type'], /html/)
      if (full) for (let at = 0; at < Math.min(bytes.length, 400); at++) {
        const [res] = await answers(Buffer.concat([bytes, behind]), async (conn, all) => { conn.write(all.subarray(0, at)); await turn(); conn.write(all.subarray(at)) }, heads)
        assert.ok(allowed.includes(res?.status), `cut at ${at}: ${res?.status}`)
      }
    }, { together: !full, timeout: full ? 120_000 : 30_000 }) // all cuts of all at once would starve one head for ten seconds
  }
}

// --- what must be understood. A row: what, request (its Connection header says how it ends), what its answers must be.

const get = (target, rest = '', version = '1.1') => `GET ${target} HTTP/${version}\r\n${HOST}${rest}\r\n`
const login = (rest, body, version = '1.1') => `POST /api/login HTTP/${version}\r\n${HOST}Content-Type: application/json\r\n${rest}\r\n${body}`
const CLOSE = 'Connection: close\r\n'
const chunked = `Transfer-Encoding: chunked\r\n${CLOSE}`
const good = [
  ['a request', get('/healthz', CLOSE), [200]],
  ['an empty line before it', `\r\n${get('/healthz', CLOSE)}`, [200]],
  ['three requests', get('/healthz') + get('/login') + get('/nowhere', CLOSE), [200, 200, 404], rs => assert.match(rs[1].text, /<html/i)],
  ['names in any case', `GET /healthz HTTP/1.1\r\nhOST: ${H}\r\ncONNECTION: cLOSE\r\n\r\n`, [200]],
  ['no white space behind the colon', `GET /healthz HTTP/1.1\r\nHost:${H}\r\nConnection:close\r\n\r\n`, [200]],
  ['8-bit bytes in a value', Buffer.from(get('/healthz', `X: \xe9\xff\r\n${CLOSE}`), 'latin1'), [200]],
  ['a request line of 8,000 bytes', get(`/healthz?${'a'.repeat(8000 - 24)}`, CLOSE), [200]],
  ['64 headers', get('/healthz', `${'X: a\r\n'.repeat(62)}${CLOSE}`), [200]],
  ['absolute form', get(`http://${H}/healthz`, CLOSE), [200]],
  ['absolute form in capitals', get(`HTTP://${H.toUpperCase()}/healthz`, CLOSE), [200]],
  ['absolute form without a path', get(`http://${H}`, CLOSE), [302]],
  ['absolute form with a query alone', get(`http://${H}?x=y`, CLOSE), [302]],
  ['absolute form in HTTP/1.0 without Host', `GET http://${H}/healthz HTTP/1.0\r\n\r\n`, [200]],
  ['absolute form in HTTP/1.0 without Host, of a foreign host', 'GET http://evil.example/login HTTP/1.0\r\n\r\n', [421]],
  ['a host of 1.0 alone', 'GET /healthz HTTP/1.0\r\n\r\n', [200]],
  ['HTTP/1.0 closes by itself', `${get('/healthz', '', '1.0')}${get('/healthz', '', '1.0')}`, [200], rs => assert.equal(rs[0].headers.connection, 'close')],
  ['HTTP/1.0 with keep-alive goes on', `${get('/healthz', 'Connection: keep-alive\r\n', '1.0')}${get('/login', '', '1.0')}`, [200, 200], rs => assert.match(rs[0].headers.connection, /keep-alive/)],
  ['HTTP/1.0 with keep-alive and close closes', `${get('/healthz', 'Connection: keep-alive, close\r\n', '1.0')}${get('/login', '', '1.0')}`, [200]],
  ['HTTP/1.1 with keep-alive and close closes', `${get('/healthz', 'Connection: close, keep-alive\r\n')}${get('/login')}`, [200]],
  ['two Connection headers, one says close', `${get('/healthz', 'Connection: keep-alive\r\nConnection: close\r\n')}${get('/login')}`, [200]],
  ['HTTP/1.1 goes on by itself', get('/healthz') + get('/healthz', CLOSE), [200, 200], rs => assert.ok(!/close/.test(rs[0].headers.connection ?? ''))],
  ['HEAD has the head of GET and no body', `HEAD /login HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, [200], rs => assert.ok(Number(rs[0].headers['content-length']) > 100), true],
  ['HEAD of what is not there', `HEAD /nowhere HTTP/1.1\r\n${HOST}\r\nHEAD /login HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, [404, 200], undefined, true],
  ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, [204], rs => { assert.match(rs[0].headers.allow, /GET/); assert.equal(rs[0].headers['content-length'], undefined) }],
  ['TRACE is not done', `TRACE /login HTTP/1.1\r\n${HOST}Cookie: secret=1\r\n${CLOSE}\r\n`, [405], rs => { assert.match(rs[0].headers.allow, /GET/); assert.ok(!/secret/.test(rs[0].text)) }],
  ['a method that a path does not have', `DELETE /login HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, [405], rs => assert.match(rs[0].headers.allow, /^GET, HEAD/)],
  ['401 says how', get('/api/me', CLOSE), [401], rs => assert.equal(rs[0].headers['www-authenticate'], 'Bearer')],
  ['a body with its length', login(`Content-Length: 2\r\n${CLOSE}`, '{}'), [400], rs => assert.match(rs[0].text, /bad_request/)],
  ['zeros before the length', login(`Content-Length: 0002\r\n${CLOSE}`, '{}'), [400], rs => assert.match(rs[0].text, /bad_request/)],
  ['a body in chunks', login(chunked, '1\r\n{\r\n1\r\n}\r\n0\r\n\r\n'), [400], rs => assert.match(rs[0].text, /bad_request/)],
  ['chunks with zeros, capitals, extensions and trailers', login(chunked, '0001;a=b;c="d e"\r\n{\r\n00A;x\r\n         }\r\n0000;last\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n'), [400], rs => assert.match(rs[0].text, /bad_request/)],
  ['CHUNKED', login(`Transfer-Encoding: CHUNKED\r\n${CLOSE}`, '2\r\n{}\r\n0\r\n\r\n'), [400], rs => assert.match(rs[0].text, /bad_request/)],
  ['a trailer that names the session changes nothing', `GET /api/me HTTP/1.1\r\n${HOST}\r\n`.replace('GET /api/me', 'POST /api/logout').replace('\r\n\r\n', `\r\n${chunked}\r\n0\r\nAuthorization: Bearer ${alice.token}\r\n\r\n`), [401]],
  ['a request behind a body', login('Content-Length: 2\r\n', '{}') + get('/healthz', CLOSE), [400, 200]],
  ['a request behind chunks', login('Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\n\r\n') + get('/healthz', CLOSE), [400, 200]],
  ['a POST without a body or a length', `POST /api/logout HTTP/1.1\r\n${HOST}Authorization: Bearer nobody\r\n${CLOSE}\r\n`, [401]],
  ['Expect in HTTP/1.0 is ignored', login('Content-Length: 2\r\nExpect: 100-continue\r\n', '{}', '1.0'), [400]],
  ['Expect without a body', get('/healthz', `Expect: 100-continue\r\n${CLOSE}`), [200]],
  ['Expect with the body right behind', login(`Content-Length: 2\r\nExpect: 100-Continue\r\n${CLOSE}`, '{}'), [400], rs => assert.ok(rs.length <= 2)],
  ['Range is ignored', get('/login', `Range: bytes=0-3\r\n${CLOSE}`), [200], rs => assert.ok(rs[0].body.length > 100)],
  ['an upgrade that nobody knows is ignored', get('/healthz', 'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n') + get('/login', CLOSE), [200, 200]],
  ['an upgrade with a body behind it', login('Content-Length: 2\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n', '{}') + get('/healthz', CLOSE), [400, 200]],
  ['an upgrade in HTTP/1.0 is ignored', get('/healthz', 'Upgrade: websocket\r\nConnection: Upgrade\r\n', '1.0'), [200]],
  ['half a handshake', get(`/ws?token=${alice.token}`, `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n`) + get('/healthz', CLOSE), [426, 200],
    rs => { assert.equal(rs[0].headers['sec-websocket-version'], '13'); assert.match(rs[0].headers.connection, /upgrade/i); assert.equal(rs[0].headers.upgrade, 'websocket') }],
  ['Accept-Encoding with q=0', get('/login', `Accept-Encoding: gzip;q=0, identity\r\n${CLOSE}`), [200], rs => assert.equal(rs[0].headers['content-encoding'], undefined)],
  ['If-Modified-Since without a date', get('/login', `If-Modified-Since: yesterday\r\n${CLOSE}`), [200]],
  ['a plus sign, escapes and colons in a path', get('/a+b%20c:d@e;f=g,h', CLOSE), [404]],
  ['slashes and dots that go nowhere', get('/./login', CLOSE), [404]],
]
for (const [what, request, statuses, more, heads] of good) {
  test(`good: ${what}`, async () => {
    for (const [name, way] of Object.entries(WAYS)) {
      // What an interim answer says is not the answer.
      const list = (await answers(Buffer.from(request), way, heads)).filter(r => r.status >= 200)
      assert.deepEqual(list.map(r => r.status), statuses, name)
      for (const r of list) {
        assert.match(r.headers.date ?? '', /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/)
        if (r.status === 204 || r.status === 304) assert.equal(r.headers['content-length'], undefined)
        else assert.match(r.headers['content-length'], /^\d+$/)
        assert.equal(r.headers['transfer-encoding'], undefined)
      }
      more?.(list)
    }
  }, { together: !full, timeout: 30_000 })
}

test('100 Continue comes before the body is sent, and not to HTTP/1.0', async () => {
  const conn = tcp(server)
  conn.write(login(`Content-Length: 2\r\nExpect: 100-continue\r\n${CLOSE}`, ''))
  await conn.wait(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
  conn.write('{}')
  await conn.closed
  assert.deepEqual(parseResponses(conn.bytes()).map(r => r.status), [100, 400])
})

test('a refusal does not wait for the body, and its bytes are not read as requests', async () => {
  const [res, ...more] = await answers(Buffer.from(login('Content-Length: 70000\r\nExpect: 100-continue\r\n', BEHIND.repeat(50))), WAYS.alone)
  assert.equal(res.status, 413)
  assert.equal(more.length, 0)
})

test('304 has the tag and the caching of 200, and no body', async () => {
  const page = await http(server, 'GET', '/login')
  const asset = /(?:src|href)="(\/assets\/[^"#?]+)/.exec(page.text)[1]
  const first = await http(server, 'GET', asset)
  for (const tag of [first.headers.etag, `W/${first.headers.etag}`, `"other", ${first.headers.etag}`, '*']) {
    const [res] = await answers(Buffer.from(get(asset, `If-None-Match: ${tag}\r\n${CLOSE}`)), WAYS.alone)
    assert.equal(res.status, 304, tag)
    for (const name of ['etag', 'cache-control', 'vary']) assert.equal(res.headers[name], first.headers[name], `${tag} ${name}`)
    assert.equal(res.headers['content-length'], undefined)
  }
  assert.equal((await http(server, 'GET', asset, { headers: { 'If-None-Match': '"other"' } })).status, 200)
})

test('If-Match is judged before If-None-Match; dates are not, since assets have none', async () => {
  const page = await http(server, 'GET', '/login')
  const asset = /(?:src|href)="(\/assets\/[^"#?]+)/.exec(page.text)[1]
  const { etag } = (await http(server, 'GET', asset)).headers
  const past = 'Thu, 01 Jan 1970 00:00:00 GMT'
  for (const [lines, status] of [
    [[`If-Match: ${etag}`], 200], [['If-Match: *'], 200], [[`If-Match: "other", ${etag}`], 200], [['If-Match: "other"', `If-Match: ${etag}`], 200],
    [['If-Match: "other"'], 412], [[`If-Match: W/${etag}`], 412], [['If-Match:'], 412],
    [[`If-Match: ${etag}`, `If-None-Match: ${etag}`], 304], [['If-Match: *', 'If-None-Match: "other"'], 200], [['If-Match: "other"', `If-None-Match: ${etag}`], 412],
    [[`If-Unmodified-Since: ${past}`], 200], [[`If-Modified-Since: ${past}`], 200], [['If-Match: "other"', `If-Unmodified-Since: ${past}`], 412],
    [[`If-Unmodified-Since: ${past}`, `If-None-Match: ${etag}`], 304],
  ]) {
    for (const method of ['GET', 'HEAD']) {
      const [res] = await answers(Buffer.from(`${method} ${asset} HTTP/1.1\r\n${HOST}${lines.join('\r\n')}\r\n${CLOSE}\r\n`), WAYS['cut in two'], method === 'HEAD')
      assert.equal(res.status, status, `${method} ${lines}`)
      if (status === 412 && method === 'GET') assert.equal(JSON.parse(res.text).error, 'not_matched')
    }
  }
  // What would not be a success without the condition is what it is with it (RFC 9110 §13.2.1).
  for (const [request, status] of [[get('/nowhere', `If-Match: "other"\r\n${CLOSE}`), 404], [get('/', `If-Match: "other"\r\n${CLOSE}`), 302]]) {
    assert.equal((await answers(Buffer.from(request), WAYS.alone))[0].status, status)
  }
})

test('a long pipeline is answered in order', async () => {
  const n = 200
  const list = await answers(Buffer.from(Array.from({ length: n }, (_, i) => i % 3 ? get(`/nowhere/${i}`) : get('/healthz')).join('') + get('/healthz', CLOSE)), WAYS['cut in two'])
  assert.deepEqual(list.map(r => r.status), [...Array.from({ length: n }, (_, i) => i % 3 ? 404 : 200), 200])
})

test('what was refused is counted, and the server goes on', async () => {
  assert.ok(await metric(server, 'http_bad_requests') > 100)
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
})
