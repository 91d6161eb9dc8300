// Promise: a request that two servers could read differently is answered 400 (501, 505 where that is the reason), the
// connection closes, and not one byte behind the error is read as another request. Each row is one malformed request;
// behind each a good one is sent that must not be answered. The rows are what the parser library lets through.

import assert from 'node:assert/strict'
import { http, parseResponses, raw, register, tcp } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test, within } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice')
const H = `127.0.0.1:${server.port}`
const FOLLOW = `GET /healthz?smuggled HTTP/1.1\r\nHost: ${H}\r\n\r\n`
const get = (target, rest = '') => `GET ${target} HTTP/1.1\r\nHost: ${H}\r\n${rest}\r\n`
const post = (rest, body = '') => `POST /api/login HTTP/1.1\r\nHost: ${H}\r\nContent-Type: application/json\r\n${rest}\r\n${body}`
const bytes = text => Buffer.from(text, 'latin1')

const ROWS = {
  'Host': [
    ['none in HTTP/1.1', 'GET / HTTP/1.1\r\n\r\n'],
    ['twice, the same', `GET / HTTP/1.1\r\nHost: ${H}\r\nHost: ${H}\r\n\r\n`],
    ['twice, different', `GET / HTTP/1.1\r\nHost: ${H}\r\nHost: localhost\r\n\r\n`],
    ['empty', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
    ['blank', 'GET / HTTP/1.1\r\nHost:   \r\n\r\n'],
    ['a comma list', `GET / HTTP/1.1\r\nHost: ${H}, localhost\r\n\r\n`],
    ['with user info', `GET / HTTP/1.1\r\nHost: me@${H}\r\n\r\n`],
    ['with a path', `GET / HTTP/1.1\r\nHost: ${H}/x\r\n\r\n`],
    ['with a query', `GET / HTTP/1.1\r\nHost: ${H}?x\r\n\r\n`],
    ['with a space', 'GET / HTTP/1.1\r\nHost: local host\r\n\r\n'],
    ['with a bad port', 'GET / HTTP/1.1\r\nHost: localhost:80x\r\n\r\n'],
    ['other than the absolute target', `GET http://localhost:1/ HTTP/1.1\r\nHost: ${H}\r\n\r\n`],
    ['other than the absolute target, user info', `GET http://me@${H}/ HTTP/1.1\r\nHost: ${H}\r\n\r\n`],
  ],
  'target': [
    ['GET *', get('*')],
    ['without a slash', get('healthz')],
    ['a control character', get('/he\x01althz')],
    ['a DEL', get('/he\x7falthz')],
    ['a tab', get('/he\talthz')],
    ['an 8-bit byte', bytes(get('/he\xe9althz'))],
    ['a bad escape', get('/%zz')],
    ['half an escape', get('/%4')],
    ['a lone percent sign', get('/%')],
    ['an escaped NUL', get('/login%00')],
    ['an escaped line feed', get('/login%0aX:%20y')],
    ['..', get('/assets/../login')],
    ['.. at the end', get('/assets/..')],
    ['.. escaped', get('/assets/%2e%2e/login')],
    ['.. half escaped', get('/assets/.%2E/login')],
    ['authority form', `GET ${H} HTTP/1.1\r\nHost: ${H}\r\n\r\n`],
    ['CONNECT', `CONNECT ${H} HTTP/1.1\r\nHost: ${H}\r\n\r\n`, [400, 405, 501]],
  ],
  'version': [
    ['2.0', `GET / HTTP/2.0\r\nHost: ${H}\r\n\r\n`, [505]],
    ['0.9', `GET / HTTP/0.9\r\nHost: ${H}\r\n\r\n`, [505]],
    ['3.0', `GET / HTTP/3.0\r\nHost: ${H}\r\n\r\n`, [505]],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 501, 505]],
    ['none', 'GET /\r\n\r\n', [400, 505]],
    ['lower case', `GET / http/1.1\r\nHost: ${H}\r\n\r\n`],
    ['two digits', `GET / HTTP/1.10\r\nHost: ${H}\r\n\r\n`, [400, 505]],
    ['another protocol', `GET / ICE/1.0\r\nHost: ${H}\r\n\r\n`, [400, 505]],
  ],
  'method': [
    ['unknown', `BREW / HTTP/1.1\r\nHost: ${H}\r\n\r\n`, [501]],
    ['lower case', `get / HTTP/1.1\r\nHost: ${H}\r\n\r\n`, [501, 400]],
    ['of another protocol', `DESCRIBE / HTTP/1.1\r\nHost: ${H}\r\n\r\n`, [501, 400]],
    ['behind a space', ` GET / HTTP/1.1\r\nHost: ${H}\r\n\r\n`, [400, 501]],
    ['a TLS hello', Buffer.from('16030100c8010000c40303', 'hex'), [400, 501]],
  ],
  'length': [
    ['twice, the same', post('Content-Length: 2\r\nContent-Length: 2\r\n', '{}')],
    ['twice, different', post('Content-Length: 2\r\nContent-Length: 40\r\n', '{}')],
    ['a list', post('Content-Length: 2, 2\r\n', '{}')],
    ['a plus sign', post('Content-Length: +2\r\n', '{}')],
    ['negative', post('Content-Length: -2\r\n', '{}')],
    ['hexadecimal', post('Content-Length: 0x2\r\n', '{}')],
    ['empty', post('Content-Length:\r\n', '{}')],
    ['with letters', post('Content-Length: 2b\r\n', '{}')],
    ['with a space inside', post('Content-Length: 2 2\r\n', '{}')],
    ['beyond 64 bits', post('Content-Length: 18446744073709551618\r\n', '{}'), [400, 413]],
    ['with Transfer-Encoding', post('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
    ['after Transfer-Encoding', post('Transfer-Encoding: chunked\r\nContent-Length: 2\r\n', '0\r\n\r\n')],
    ['on GET', get('/healthz', 'Content-Length: 5\r\n') + 'hello'],
    ['on HEAD', `HEAD /healthz HTTP/1.1\r\nHost: ${H}\r\nContent-Length: 5\r\n\r\nhello`],
    ['on an upgrade', get(`/ws?token=${alice.token}`, 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n') + 'hello'],
  ],
  'Transfer-Encoding': [
    ['empty', post('Transfer-Encoding:\r\n', '0\r\n\r\n')],
    ['empty, with a length', post('Transfer-Encoding:\r\nContent-Length: 2\r\n', '{}')],
    ['gzip, chunked', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), [400, 501]],
    ['chunked, identity', post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n'), [400, 501]],
    ['identity', post('Transfer-Encoding: identity\r\n', '{}'), [400, 501]],
    ['chunked, chunked', post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n'), [400, 501]],
    ['two headers', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'), [400, 501]],
    ['two headers, the second empty', post('Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n', '0\r\n\r\n'), [400, 501]],
    ['xchunked', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n'), [400, 501]],
    ['chunkedx', post('Transfer-Encoding: chunkedx\r\n', '0\r\n\r\n'), [400, 501]],
    ['quoted', post('Transfer-Encoding: "chunked"\r\n', '0\r\n\r\n'), [400, 501]],
    ['with a vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'), [400, 501]],
    ['in HTTP/1.0', `POST /api/login HTTP/1.0\r\nHost: ${H}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['on GET', get('/healthz', 'Transfer-Encoding: chunked\r\n') + '0\r\n\r\n'],
  ],
  'chunks': [
    ['a size that is no number', post('Transfer-Encoding: chunked\r\n', 'x\r\n{}\r\n0\r\n\r\n')],
    ['a size with 0x', post('Transfer-Encoding: chunked\r\n', '0x2\r\n{}\r\n0\r\n\r\n')],
    ['a negative size', post('Transfer-Encoding: chunked\r\n', '-2\r\n{}\r\n0\r\n\r\n')],
    ['a size beyond 64 bits', post('Transfer-Encoding: chunked\r\n', '10000000000000002\r\n{}\r\n0\r\n\r\n'), [400, 413]],
    ['an empty size', post('Transfer-Encoding: chunked\r\n', '\r\n{}\r\n0\r\n\r\n')],
    ['a size ended by a bare LF', post('Transfer-Encoding: chunked\r\n', '2\n{}\r\n0\r\n\r\n')],
    ['data longer than the size', post('Transfer-Encoding: chunked\r\n', '2\r\n{}{}\r\n0\r\n\r\n')],
    ['data ended by a bare LF', post('Transfer-Encoding: chunked\r\n', '2\r\n{}\n0\r\n\r\n')],
    ['an extension of 20 kB', post('Transfer-Encoding: chunked\r\n', `2;${'a'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`), [400, 413, 431]],
    ['a trailer of 20 kB', post('Transfer-Encoding: chunked\r\n', `2\r\n{}\r\n0\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`), [400, 413, 431]],
  ],
  'header lines': [
    ['folded', get('/healthz', 'X-Long: a\r\n b\r\n')],
    ['folded by a tab', get('/healthz', 'X-Long: a\r\n\tb\r\n')],
    ['folded first', `GET /healthz HTTP/1.1\r\n X: y\r\nHost: ${H}\r\n\r\n`],
    ['bare LF after the request line', `GET /healthz HTTP/1.1\nHost: ${H}\r\n\r\n`],
    ['bare LF after a header', `GET /healthz HTTP/1.1\r\nHost: ${H}\nX: y\r\n\r\n`],
    ['bare LF at the end', `GET /healthz HTTP/1.1\r\nHost: ${H}\r\n\n`],
    ['bare LF everywhere', `GET /healthz HTTP/1.1\nHost: ${H}\n\n`],
    ['a bare CR in a value', get('/healthz', 'X: a\rb\r\n')],
    ['a bare CR after an empty value', get('/healthz', 'X:\rContent-Length: 40\r\n')],
    ['a bare CR at the end of a value', get('/healthz', 'X: a\r\r\n')],
    ['a space before the colon', get('/healthz', 'X : y\r\n')],
    ['a tab before the colon', get('/healthz', 'X\t: y\r\n')],
    ['a space in a name', get('/healthz', 'X Y: z\r\n')],
    ['no colon', get('/healthz', 'X\r\n')],
    ['no name', get('/healthz', ': y\r\n')],
    ['an 8-bit name', bytes(get('/healthz', 'X\xff: y\r\n'))],
    ['a NUL in a value', get('/healthz', 'X: a\0b\r\n')],
    ['a NUL in a name', get('/healthz', 'X\0: b\r\n')],
    ['a control character in a value', get('/healthz', 'X: a\x08b\r\n')],
    ['Upgrade with a space before the colon', get('/ws', 'Upgrade : websocket\r\n')],
  ],
}

/** Sends a row and a good request behind it; exactly one answer may come, and then the close. */
async function mustClose(request, allowed) {
  const conn = tcp(server)
  conn.write(Buffer.concat([Buffer.from(request), Buffer.from(FOLLOW)]))
  try {
    await within(5000, `the close; got ${JSON.stringify(conn.text().slice(0, 200))}`, conn.closed)
  } finally { conn.destroy() }
  const answers = parseResponses(conn.bytes(), { heads: /^HEAD/.test(String(request)) })
  assert.ok(answers.length > 0, 'closed without an answer')
  assert.ok(answers.length === 1, `${answers.length} answers: ${answers.map(r => r.status)}`)
  assert.ok(allowed.includes(answers[0].status), `${answers[0].status}, expected ${allowed}`)
  assert.ok(!/keep-alive/i.test(answers[0].headers.connection ?? ''))
}

for (const [group, rows] of Object.entries(ROWS)) {
  for (const [what, request, allowed = [400]] of rows) {
    test(`${group}: ${what} is ${allowed.join(' or ')}`, () => mustClose(request, allowed), { together: true, timeout: 15_000 })
  }
}

test('OPTIONS * may be', async () => {
  const [res] = await raw(server, `OPTIONS * HTTP/1.1\r\nHost: ${H}\r\nConnection: close\r\n\r\n`)
  assert.ok([200, 204, 405].includes(res.status), String(res.status))
})

test('an absolute target that says what Host says may be', async () => {
  const [res] = await raw(server, `GET http://${H}/healthz HTTP/1.1\r\nHost: ${H}\r\nConnection: close\r\n\r\n`)
  assert.equal(res.status, 200)
})

test('HTTP/1.0 needs no Host', async () => {
  const [res] = await raw(server, 'GET /healthz HTTP/1.0\r\n\r\n')
  assert.equal(res.status, 200)
})

test('white space around a value, and a small chunk extension, may be', async () => {
  const [res] = await raw(server, `GET /healthz HTTP/1.1\r\nHost: \t ${H} \t \r\nX:\r\nConnection: close\r\n\r\n`)
  assert.equal(res.status, 200)
})

test('a good request before a bad one is answered, one behind it is not', async () => {
  const answers = await raw(server, FOLLOW + get('/healthz', 'X : y\r\n') + FOLLOW)
  assert.deepEqual(answers.map(r => r.status), [200, 400])
})

test('a body that was refused unread is not read as a request', async () => {
  // 415 or 404 may answer before the body has come: whatever is done with the connection, the body is no request.
  for (const head of ['POST /api/login HTTP/1.1\r\nContent-Type: text/plain\r\n', 'POST /nowhere HTTP/1.1\r\n', 'PUT /login HTTP/1.1\r\n']) {
    const answers = await raw(server, `${head}Host: ${H}\r\nContent-Length: ${FOLLOW.length}\r\n\r\n${FOLLOW}GET /nowhere HTTP/1.1\r\nHost: ${H}\r\nConnection: close\r\n\r\n`)
    assert.ok(!answers.some(r => r.status === 200), `${answers.map(r => r.status)}`)
    assert.ok([415, 404, 405].includes(answers[0].status))
    assert.ok(answers.length <= 2)
  }
})

test('the server still answers after all of that', async () => {
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
})
