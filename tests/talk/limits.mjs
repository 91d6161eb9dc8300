// Promise: what is over a limit gets a clear error and costs the server bounded memory (PROTOCOL §4): long heads and
// bodies, slow ones, floods, too many sockets, connections, rooms.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { PASSWORD, call, http, online, parseResponses, raw, refused, register, tcp, wsRefused } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { SLOW, measured, sleep, test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice')
const H = `127.0.0.1:${server.port}`

test('a head of up to 8 KiB is read, a longer one refused at once', async () => {
  const head = size => {
    const start = `GET /healthz HTTP/1.1\r\nHost: ${H}\r\nConnection: close\r\nX: `
    return `${start}${'x'.repeat(size - start.length - 4)}\r\n\r\n`
  }
  assert.equal((await raw(server, head(8000)))[0].status, 200)
  const refusal = async (bytes, status, code, what) => {
    const [res, ...more] = await raw(server, bytes)
    assert.deepEqual([res.status, JSON.parse(res.text).error, more.length], [status, code, 0], what)
    assert.equal(res.headers.connection, 'close', what)
  }
  for (const size of [8300, 20_000, 200_000]) await refusal(head(size), 431, 'head_too_large', `a head of ${size}`)
  await refusal(`GET /healthz HTTP/1.1\r\nHost: ${H}\r\n${'a:b\r\n'.repeat(3000)}\r\n`, 431, 'head_too_large', '3,000 headers')
  for (const size of [8300, 20_000, 200_000]) {
    await refusal(`GET /${'x'.repeat(size)} HTTP/1.1\r\nHost: ${H}\r\n\r\n`, 414, 'target_too_long', `a target of ${size}`)
  }
})

test('the limits told are those of the options', async () => {
  const own = await startServer({ args: ['--frame-max', '5000', '--text-max', '100'] })
  const carol = await register(own, 'carol'), s = await online(own, carol)
  const told = { text: 100, frame: 5000, upload: 10_485_760 }
  assert.deepEqual(s.welcome.limits, told)
  assert.deepEqual((await call(own, 'GET', '/api/me', { token: carol.token })).limits, told)
  s.sendText(JSON.stringify({ type: 'ping', pad: 'x'.repeat(4000) }))
  await s.next('pong')
  s.sendText(JSON.stringify({ type: 'ping', pad: 'x'.repeat(5000) }))
  await s.expectClose(1009)
  await own.stop()
})

test('a head without an end is refused as soon as it is too long', async () => {
  const conn = tcp(server)
  conn.write(`GET / HTTP/1.1\r\nHost: ${H}\r\nX: ${'x'.repeat(9000)}`)
  await conn.wait(/^HTTP\/1\.1 431 /)
  conn.destroy()
  const line = tcp(server)
  line.write(`GET /${'x'.repeat(9000)}`)
  await line.wait(/^HTTP\/1\.1 414 /)
  line.destroy()
})

test('a body over 64 KiB is 413, said or not', async () => {
  const json = JSON.stringify({ username: 'big', password: PASSWORD, pad: 'x'.repeat(65_536) })
  assert.equal((await http(server, 'POST', '/api/login', { body: json, headers: { 'Content-Type': 'application/json' } })).status, 413)
  const head = `POST /api/login HTTP/1.1\r\nHost: ${H}\r\nContent-Type: application/json\r\n`
  const conn = tcp(server) // refused by its length alone
  conn.write(`${head}Content-Length: 1000000000\r\n\r\n`)
  await conn.wait(/^HTTP\/1\.1 413/)
  conn.destroy()
  const [chunked] = await raw(server, `${head}Transfer-Encoding: chunked\r\n\r\n${'4000\r\n' + 'x'.repeat(0x4000) + '\r\n'}`.repeat(1) + `${'4000\r\n' + 'x'.repeat(0x4000) + '\r\n'}`.repeat(7) + '0\r\n\r\n')
  assert.equal(chunked.status, 413)
  const exact = JSON.stringify({ username: 'alice', password: PASSWORD, pad: '' })
  const full = exact.replace('"pad":""', `"pad":"${'x'.repeat(65_536 - exact.length)}"`)
  assert.equal(full.length, 65_536)
  assert.equal((await http(server, 'POST', '/api/login', { body: full, headers: { 'Content-Type': 'application/json' } })).status, 200)
})

test('the answer is received though more was still arriving', async () => {
  // 900 kB behind the refusal: the server drains it, so that no reset swallows the answer.
  const conn = tcp(server)
  conn.write(`POST /api/login HTTP/1.1\r\nHost: ${H}\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n`)
  for (let i = 0; i < 9; i++) { conn.write('x'.repeat(100_000)); await sleep(5) }
  await conn.closed
  assert.equal(parseResponses(conn.bytes())[0].status, 413)
})

test('a head that trickles is cut off after 10 s, a body after 20 s, however busy the bytes', async () => {
  const trickle = async (start, drop, least, most) => {
    const conn = tcp(server)
    conn.write(start)
    const begin = Date.now()
    const timer = setInterval(() => conn.write(drop), 500)
    await conn.closed
    clearInterval(timer)
    const took = Date.now() - begin
    assert.ok(took >= least && took <= most * SLOW, `${took} ms: ${conn.text().slice(0, 60)}`)
    assert.match(conn.text(), /^HTTP\/1\.1 408 /)
  }
  await Promise.all([
    trickle(`GET / HTTP/1.1\r\nHost: ${H}\r\n`, 'X: y\r\n', 9_900, 15_000),
    trickle('G', '', 9_900, 15_000),
    trickle(`POST /api/login HTTP/1.1\r\nHost: ${H}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`, ' ', 19_900, 26_000),
  ])
}, { timeout: 40_000, together: true })

/** One more socket is refused: 503, and it says when to come again. */
async function full(server, person) {
  const res = await wsRefused(server, { token: person.token }, 503, 'overloaded')
  assert.match(res.headers['retry-after'] ?? '', /^[1-9]\d*$/)
}

test('a user has 64 sockets by default, fewer by option; the next is refused', async () => {
  const small = await startServer({ args: ['--max-sockets-per-user', '3'] })
  const bob = await register(small, 'bob'), carol = await register(small, 'carol')
  const sockets = await Promise.all([1, 2, 3].map(() => online(small, bob)))
  await full(small, bob)
  await (await online(small, carol)).close()
  await sockets[0].close()
  await (await online(small, bob)).close()
  await small.stop()
}, { together: true })

test('the server has --max-sockets; the next is refused with 503 and Retry-After', async () => {
  const small = await startServer({ args: ['--max-sockets', '4'] })
  const bob = await register(small, 'bob')
  const sockets = await Promise.all([1, 2, 3, 4].map(() => online(small, bob)))
  await full(small, bob)
  await sockets[0].close()
  await (await online(small, bob)).close()
  await small.stop()
}, { together: true })

test('an idle connection is pinged; one that answers stays, one that is silent is dropped', async () => {
  const brisk = await startServer({ args: ['--ping-idle', '1', '--silent-max', '4'] })
  const bob = await register(brisk, 'bob')
  const lively = await online(brisk, bob), deaf = await online(brisk, bob, { deaf: true })
  const start = Date.now()
  await deaf.closed
  const took = Date.now() - start
  assert.ok(took >= 3000 && took < 9000 * SLOW, `${took} ms`)
  assert.ok(deaf.pings >= 1 && lively.pings >= 1, `${deaf.pings} and ${lively.pings} pings`)
  await lively.reaches(0)
  await brisk.stop()
}, { together: true, timeout: 20_000 })

test('64 sockets of one user are fine, the 65th is not', async () => {
  const dora = await register(server, 'dora')
  const sockets = await Promise.all(Array.from({ length: 64 }, () => online(server, dora)))
  await full(server, dora)
  await sockets[0].say('all heard it')
  for (const s of sockets) s.cut()
})

test('loopback has no limit for each address', async () => {
  const conns = Array.from({ length: 300 }, () => tcp(server))
  await Promise.all(conns.map(c => { c.write(`GET /healthz HTTP/1.1\r\nHost: ${H}\r\n\r\n`); return c.wait(/^HTTP\/1\.1 200/) }))
  conns.forEach(c => c.destroy())
})

test('a user makes 100 rooms', async () => {
  const emil = await register(server, 'emil')
  for (let i = 0; i < 100; i++) await call(server, 'POST', '/api/rooms', { token: emil.token, json: { name: `Room ${i}` } }, 201)
  await refused(server, 'POST', '/api/rooms', { token: emil.token, json: { name: 'one more' } }, 422, 'too_many')
  await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'by another' } }, 201)
})

test('an API flood is slowed, not refused', async () => {
  const slow = await startServer({ args: ['--request-rate', '10/100'] })
  const bob = await register(slow, 'bob')
  const conn = tcp(slow)
  const start = Date.now()
  const get = close => `GET /api/me HTTP/1.1\r\nHost: ${H}\r\nAuthorization: Bearer ${bob.token}\r\n${close}\r\n`
  conn.write(get('').repeat(59) + get('Connection: close\r\n'))
  await conn.closed
  const answers = parseResponses(conn.bytes())
  assert.equal(answers.length, 60)
  assert.ok(answers.every(r => r.status === 200), `${answers.map(r => r.status)}`)
  assert.ok(Date.now() - start > 350, `${Date.now() - start} ms`)
  await slow.stop()
})

test('half-open requests and idle sockets by the hundred cost little', async () => {
  const before = server.rss()
  const conns = Array.from({ length: 500 }, () => tcp(server))
  conns.forEach(c => c.write(`POST /api/login HTTP/1.1\r\nHost: ${H}\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{`))
  await sleep(500)
  const grown = server.rss() - before
  assert.ok(!measured || grown < 16 << 20, `${(grown / 1e6).toFixed(1)} MB for 500 unfinished requests`)
  conns.forEach(c => c.destroy())
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
})

test('answers that nobody reads are not heaped up', async () => {
  const s = await online(server, alice)
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Heavy' } }, 201)
  for (let i = 0; i < 30; i++) await s.say('🐘'.repeat(4000), { room: room.id })
  await s.close()
  const before = server.rss()
  const get = `GET /api/rooms/${room.id}/messages?limit=200 HTTP/1.1\r\nHost: ${H}\r\nAuthorization: Bearer ${alice.token}\r\n\r\n`
  const conns = Array.from({ length: 10 }, () => tcp(server))
  for (const conn of conns) {
    conn.socket.pause()
    conn.write(get.repeat(200)) // 25 MB of answers for each
  }
  await sleep(1500)
  const grown = server.rss() - before
  assert.ok(!measured || grown < 32 << 20, `${(grown / 1e6).toFixed(1)} MB for 10 connections that do not read`)
  // Nor in the kernel, where each connection's buffer would grow to megabytes by itself.
  const port = server.port.toString(16).toUpperCase().padStart(4, '0')
  const queues = readFileSync('/proc/net/tcp', 'utf8').split('\n').map(l => l.trim().split(/\s+/)).filter(f => f[1]?.endsWith(`:${port}`) && f[3] === '01')
  const longest = Math.max(...queues.map(f => parseInt(f[4], 16)))
  assert.ok(queues.length >= 10 && longest > 0 && longest < 256 * 1024, `${queues.length} connections, at most ${longest} bytes wait in the kernel`)
  const [one, ...rest] = conns
  rest.forEach(conn => conn.destroy())
  one.socket.resume() // who reads late gets them all
  one.write(get.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  await one.closed
  const answers = parseResponses(one.bytes())
  assert.equal(answers.length, 201)
  assert.ok(answers.every(r => r.status === 200))
}, { timeout: 30_000 })

test('an idle server is small', async () => {
  const fresh = await startServer()
  const rss = fresh.rss()
  console.log(`# idle: ${(rss / 1024).toFixed(0)} KiB`)
  assert.ok(!measured || rss <= 6 * 1024 * 1024, `${(rss / 1024).toFixed(0)} KiB`)
  await fresh.stop()
})

test('the first load of the page is at most 60 KiB compressed', async () => {
  const gzip = { 'Accept-Encoding': 'gzip' }
  const page = await http(server, 'GET', '/', { cookie: alice.token })
  const zipped = await http(server, 'GET', '/', { cookie: alice.token, headers: gzip })
  let sum = zipped.body.length
  const wanted = new Set([...page.text.matchAll(/(?:src|href)="(\/assets\/[^"#?]+)/g)].map(m => m[1]))
  const seen = new Set()
  for (const path of wanted) {
    if (seen.has(path)) continue
    seen.add(path)
    sum += (await http(server, 'GET', path, { headers: gzip })).body.length
    if (/\.m?js$/.test(path)) {
      const { text } = await http(server, 'GET', path)
      for (const [, to] of text.matchAll(/(?:from|import)\s*['"]([^'"]+\.m?js)['"]/g)) wanted.add(new URL(to, `http://x${path}`).pathname)
    }
  }
  console.log(`# first load: ${sum} bytes in ${seen.size + 1} files`)
  assert.ok(sum <= 60 * 1024, `${sum} bytes`)
})

test('names, topics and profiles have lengths', async () => {
  for (const json of [{ display_name: 'x'.repeat(65) }, { display_name: 'x'.repeat(5000) }, { status: 'x'.repeat(101) }, { status: 'x'.repeat(5000) }]) {
    await refused(server, 'PATCH', '/api/me', { token: alice.token, json }, 422, 'too_long')
  }
  await refused(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'long topic', topic: 'x'.repeat(251) } }, 422, 'too_long')
  await refused(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'x'.repeat(65) } }, 422, 'bad_name')
})
