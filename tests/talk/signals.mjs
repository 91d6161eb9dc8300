// Promise: SIGTERM and SIGINT stop the server as PROTOCOL §5 says: what was sent is committed and answered, sockets are
// closed 1001, exit 0 within five seconds; a second signal exits at once; SIGHUP reads the configuration again.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PASSWORD, http, online, register, tcp, wholeRoom } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { SLOW, eventually, sleep, test } from '../support/suite.mjs'

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal}: sockets close 1001, exit 0, soon`, async () => {
    const server = await startServer()
    const alice = await register(server, 'alice')
    const sockets = await Promise.all([1, 2, 3].map(() => online(server, alice)))
    const idle = tcp(server)
    idle.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await idle.wait(/200/)
    const half = tcp(server)
    half.write('GET /healthz HT')
    const start = Date.now()
    assert.equal(await server.stop(signal), 0)
    assert.ok(Date.now() - start < 5500 * SLOW, `${Date.now() - start} ms`)
    for (const s of sockets) await s.expectClose(1001)
    await idle.closed
    await half.closed
  })
}

test('messages under way at SIGTERM: what is acknowledged is stored, and nothing else is half there', async () => {
  const server = await startServer()
  const alice = await register(server, 'alice')
  const a = await online(server, alice)
  for (let i = 0; i < 500; i++) a.send({ type: 'message', text: `m${i}`, nonce: `n${i}` })
  await a.until(f => f.nonce === 'n0')
  const how = server.stop()
  await a.expectClose(1001)
  assert.equal(await how, 0)
  const acknowledged = a.log.filter(f => f.type === 'message').map(f => f.nonce)
  assert.deepEqual(acknowledged, acknowledged.map((_, i) => `n${i}`))
  await server.restart()
  const stored = (await wholeRoom(server, alice.token)).map(m => m.text)
  assert.deepEqual(stored, stored.map((_, i) => `m${i}`))
  assert.ok(stored.length >= acknowledged.length, `${acknowledged.length} acknowledged, ${stored.length} stored`)
  const again = await online(server, alice)
  assert.equal(again.welcome.epoch, a.welcome.epoch)
  await again.close()
})

test('a reader that takes nothing does not hold up the end', async () => {
  const server = await startServer()
  const alice = await register(server, 'alice')
  const stuck = await online(server, alice), a = await online(server, alice)
  stuck.pause()
  for (let i = 0; i < 1500; i++) a.send({ type: 'message', text: 'x'.repeat(3900), nonce: `n${i}` })
  await a.until(f => f.nonce === 'n1499', 20_000)
  assert.equal(await server.stop(), 0)
}, { timeout: 30_000 })

test('logins under way at SIGTERM are answered or cut, and do not hold up the end', async () => {
  const server = await startServer({ args: ['--password-memory', '64', '--password-ops', '8'] })
  const answers = Array.from({ length: 50 }, (_, i) => http(server, 'POST', '/api/register', { json: { username: `late${i}`, password: PASSWORD } }).then(r => r.status, () => 'cut'))
  await Promise.race(answers)
  assert.equal(await server.stop(), 0)
  for (const status of await Promise.all(answers)) assert.ok([201, 429, 503, 'cut'].includes(status), String(status))
}, { timeout: 30_000 })

test('a second signal exits at once', async () => {
  const server = await startServer({ quietEnd: true })
  const alice = await register(server, 'alice')
  const stuck = await online(server, alice)
  stuck.pause()
  process.kill(server.pid, 'SIGTERM')
  // Two signals at once are one to the kernel: the second waits until the first was heard.
  await eventually('the first is heard', () => server.exit !== null || server.lines.some(line => /SIGTERM/.test(line)))
  try { process.kill(server.pid, 'SIGTERM') } catch { /* it was quick */ }
  const start = Date.now()
  await server.ended
  assert.ok(Date.now() - start < 1500 * SLOW, `${Date.now() - start} ms`)
})

test('SIGHUP does not disturb anybody', async () => {
  const server = await startServer()
  const alice = await register(server, 'alice')
  const a = await online(server, alice)
  process.kill(server.pid, 'SIGHUP')
  await eventually('it is heard', () => server.lines.some(line => /read again/.test(line)))
  assert.ok(!server.lines.some(line => /changed for the next start/.test(line)), 'the port that was picked is no change')
  await a.say('still here')
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  await server.stop()
})

test('SIGHUP reads the configuration again; what is wrong in it changes nothing', async () => {
  const file = join(temporary(), 'conf')
  writeFileSync(file, 'registration = open\n')
  const server = await startServer({ args: ['--config', file] })
  const tries = name => http(server, 'POST', '/api/register', { json: { username: name, password: PASSWORD } })
  assert.equal((await tries('one')).status, 201)
  writeFileSync(file, 'registration = closed\n')
  process.kill(server.pid, 'SIGHUP')
  let n = 0
  await eventually('registration is closed', async () => (await tries(`x${n++}`)).status === 403)
  const before = server.lines.length
  writeFileSync(file, 'registration = perhaps\n')
  process.kill(server.pid, 'SIGHUP')
  await eventually('a line about it', () => server.lines.slice(before).some(line => /registration/.test(line)))
  assert.equal((await tries('two')).status, 403)
})

test('SIGPIPE and a closed standard output do not end it', async () => {
  const server = await startServer()
  process.kill(server.pid, 'SIGPIPE')
  await register(server, 'alice')
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  await server.stop()
})

test('who is slow has its last result before the goodbye', async () => {
  const server = await startServer({ args: ['--message-rate', 'off', '--request-rate', 'off'] })
  const a = await online(server, await register(server, 'alice')), b = await online(server, await register(server, 'bob'))
  b.pause() // so much is more than the kernel keeps, and less than the ring
  for (let i = 0; i < 150; i++) await a.say('x'.repeat(3900))
  b.send({ type: 'message', text: 'the last', nonce: 'last' })
  await a.heard(f => f.nonce === 'last' || f.text === 'the last')
  process.kill(server.pid, 'SIGTERM')
  await sleep(200)
  b.resume()
  await b.closed
  assert.ok(b.log.some(f => f.nonce === 'last'), 'its result came')
  assert.equal(b.closeFrame.code, 1001)
  assert.equal((await server.ended).code, 0)
})
