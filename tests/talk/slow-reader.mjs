// Promise: a connection is a cursor, not a queue: one that stops reading costs the server bounded memory, disturbs
// nobody, and when it reads again has missed nothing, with a second `ready` at the end of its catching up; one that
// takes nothing although data waits is closed 4003, sooner here by option (PROTOCOL §3.1, §3.4).

import assert from 'node:assert/strict'
import { metric, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { eventually, measured, sleep, test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice'), bob = await register(server, 'bob'), carol = await register(server, 'carol')
const a = await online(server, alice), fast = await online(server, carol)

/** Sends `count` messages of `size` characters, some in flight at once; gives their texts' numbers. */
async function flood(count, size, from = 0) {
  const text = 'z'.repeat(size)
  for (let i = 0; i < count; i += 50) {
    const n = Math.min(50, count - i)
    for (let k = 0; k < n; k++) a.send({ type: 'message', text: `${from + i + k} ${text}`, nonce: `f${from + i + k}` })
    await a.until(f => f.nonce === `f${from + i + n - 1}`, 20_000)
    a.clear()
    a.log.length = 1
  }
}

test('a reader that stops is overrun, costs bounded memory, and misses nothing', async () => {
  await flood(200, 3900, 90_000) // what the server keeps anyway is warm
  const start = await a.say('start')
  const slow = await online(server, bob)
  slow.pause()
  fast.clear()
  const before = server.rss()
  await flood(6000, 3900) // 23 MB: far more than a socket's buffers and the ring hold
  const grown = server.rss() - before
  assert.ok(!measured || grown < 12 * 1024 * 1024, `the server grew by ${(grown / 1e6).toFixed(1)} MB for one slow reader`)
  const end = await a.say('end')
  await fast.until(f => f.id === end.id, 20_000)
  const readiesBefore = slow.log.filter(f => f.type === 'ready').length
  slow.resume()
  await slow.until(f => f.id === end.id, 30_000)
  await slow.reaches(end.rev)
  assert.ok(await metric(server, 'sockets_overrun') > 0, 'the ring went over the reader')
  const got = slow.log.filter(f => f.type === 'message' && f.rev > start.rev && f.id !== end.id).map(f => Number(f.nonce.slice(1)))
  assert.equal(got.length, 6000)
  assert.ok(got.every((n, i) => n === i), 'in order, each once')
  await slow.until(f => f.type === 'ready', 10_000)
  assert.equal(slow.log.filter(f => f.type === 'ready').length, readiesBefore + 1, 'a second ready when it has caught up')
  const live = await a.say('live again')
  await slow.until(f => f.id === live.id)
  await slow.close()
}, { timeout: 90_000 })

test('marks that moved meanwhile come before the second ready', async () => {
  const slow = await online(server, bob)
  slow.pause()
  const first = await a.say('to be seen')
  await fast.until(f => f.id === first.id)
  await flood(4000, 3900, 10_000)
  const last = await a.say('newest')
  fast.send({ type: 'seen', room: 1, id: last.id })
  await a.until(f => f.type === 'seen' && f.user === 'carol' && f.id === last.id)
  slow.clear()
  slow.resume()
  await slow.until(f => f.type === 'ready', 30_000)
  const at = slow.log.findLastIndex?.(f => f.type === 'ready') ?? slow.log.map(f => f.type).lastIndexOf('ready')
  const seen = slow.log.slice(0, at).filter(f => f.type === 'seen' && f.user === 'carol')
  assert.equal(seen.at(-1)?.id, last.id)
  await slow.close()
}, { timeout: 90_000 })

test('many slow readers cost little each', async () => {
  const slow = await Promise.all(Array.from({ length: 40 }, () => online(server, bob)))
  slow.forEach(s => s.pause())
  const before = server.rss()
  await flood(2000, 3900, 20_000)
  const grown = server.rss() - before
  assert.ok(!measured || grown < 20 * 1024 * 1024, `the server grew by ${(grown / 1e6).toFixed(1)} MB for 40 slow readers`)
  slow.forEach(s => s.cut())
}, { timeout: 60_000 })

test('who asks and does not read is not read either, and gets every answer in the end', async () => {
  const lazy = await online(server, bob)
  lazy.pause()
  const before = server.rss()
  for (let i = 0; i < 300; i++) lazy.send({ type: 'history', room: 1, limit: 200, ref: `h${i}` })
  for (let i = 0; i < 20_000; i++) lazy.send({ type: 'ping', ref: `p${i}` })
  for (let i = 0; i < 5; i++) await a.say(`meanwhile ${i}`)
  await sleep(500)
  const grown = server.rss() - before
  assert.ok(!measured || grown < 12 * 1024 * 1024, `the server grew by ${(grown / 1e6).toFixed(1)} MB for 30 MB of answers that wait`)
  lazy.resume()
  await lazy.until(f => f.ref === 'p19999', 30_000)
  const refs = lazy.log.filter(f => f.ref).map(f => f.ref)
  assert.deepEqual(refs, [...Array.from({ length: 300 }, (_, i) => `h${i}`), ...Array.from({ length: 20_000 }, (_, i) => `p${i}`)])
  await lazy.close()
}, { timeout: 60_000 })

test('what takes nothing although data waits is closed 4003', async () => {
  const strict = await startServer({ args: ['--stuck-max', '2'] })
  const person = await register(strict, 'alice')
  const slow = await online(strict, person), talker = await online(strict, person), quiet = await online(strict, person)
  slow.pause()
  for (let i = 0; i < 2500; i++) talker.send({ type: 'message', text: 'z'.repeat(3900), nonce: `s${i}` })
  await talker.until(f => f.nonce === 's2499', 20_000)
  await eventually('one socket less', async () => await metric(strict, 'sockets_open') === 2, 8000)
  slow.resume()
  const how = await slow.closed
  // The close frame may not fit where nothing was taken; then the connection just ends.
  assert.ok([4003, 1006].includes(how.code), JSON.stringify(how))
  await quiet.reaches(0)
  await strict.stop()
}, { timeout: 40_000 })
