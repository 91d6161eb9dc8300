// Promise: a request that two servers could read differently is answered 400 (501, 505 where that is the reason), the
// connection closes, and not one byte behind the error is read as another request. Each row is one malformed request;
// behind each a good one is sent that must not be answered. The rows are what the parser library lets through.

import assert from 'node:assert/strict'
import { http, parseResponses, raw, register, tcp } from '../support/client.mjs'
import { malformed } from '../support/malformed.mjs'
import { startServer } from '../support/server.mjs'
import { test, within } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice')
const H = `127.0.0.1:${server.port}`
const FOLLOW = `GET /healthz?smuggled HTTP/1.1\r\nHost: ${H}\r\n\r\n`
const get = (target, rest = '') => `GET ${target} HTTP/1.1\r\nHost: ${H}\r\n${rest}\r\n`
const ROWS = malformed(H, alice.token)

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
