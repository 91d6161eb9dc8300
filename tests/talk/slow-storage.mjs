// Promise: storage that syncs slowly makes messages late and nothing else: all arrive in order, whatever is under way, one sync serves all that waited,
// no turn of the loop waits for it, and what needs no sync (page, history, ping) is answered meanwhile. What is printed as times decides nothing:
// `make slow-storage` measures with a real load. The server here is the same program with a layer below SQLite that delays each sync.

import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { call, login, metric, online, register } from '../support/client.mjs'
import { binary, startServer } from '../support/server.mjs'
import { sleep, test } from '../support/suite.mjs'

const DELAY_MS = 20
const server = await startServer({ program: join(dirname(binary), 'tests/chatterbox-slow'), env: { SLOW_SYNC_MS: String(DELAY_MS) } })
const people = await Promise.all(Array.from({ length: 46 }, (_, i) => register(server, `writer${i}`)))
const asker = await register(server, 'asker')

/** Messages that `socket` got since the last clear, by the sender's own count: all there, each once, in order. */
function assertAll(socket, senders, count) {
  const next = new Map()
  for (const f of socket.log) {
    if (f.type !== 'message') continue
    const [who, n] = f.text.split(' ')
    assert.equal(Number(n), next.get(who) ?? 0, `of ${who}, in order`)
    next.set(who, Number(n) + 1)
  }
  assert.equal(next.size, senders)
  for (const [who, n] of next) assert.equal(n, count, `all of ${who}`)
}

const quantile = (times, at) => times.sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * at))].toFixed(1)

test('a thousand messages a second go to all; commits are few; what asks for no sync does not wait for one', async () => {
  const readers = await Promise.all(Array.from({ length: 8 }, () => online(server, asker)))
  const writer = await online(server, people[0]), pinger = await online(server, asker)
  for (const reader of readers) reader.log.length = 1
  const commits = await metric(server, 'commits'), begin = performance.now()
  const late = [], pings = [], pages = []
  let sending = true
  const asking = (async () => {
    while (sending) {
      let at = performance.now()
      await call(server, 'GET', '/api/rooms/1/messages?limit=50', { token: asker.token }, 200)
      pages.push(performance.now() - at)
      at = performance.now()
      const ref = String(at)
      pinger.send({ type: 'ping', ref })
      await pinger.next(f => f.type === 'pong' && f.ref === ref)
      pings.push(performance.now() - at)
      await sleep(10)
    }
  })()
  const due = new Map()
  readers[0].options.onFrame = f => { if (f.type === 'message') late.push(performance.now() - due.get(f.nonce)) }
  for (let i = 0; i < 1500; i++) {
    if (i % 10 === 0) await sleep(Math.max(0, begin + i - performance.now()))
    due.set(`r${i}`, performance.now())
    writer.send({ type: 'message', text: `a ${i}`, nonce: `r${i}` })
  }
  for (const reader of readers) await reader.until(f => f.nonce === 'r1499', 20_000)
  sending = false
  await asking
  const took = performance.now() - begin, made = await metric(server, 'commits') - commits
  for (const reader of readers) assertAll(reader, 1, 1500)
  assert.ok((made - 1) * DELAY_MS <= took + DELAY_MS, `${made} commits in ${took} ms`)
  console.log(`# delay ${DELAY_MS} ms: p99 ${quantile(late, 0.99)} ms, ${made} commits in ${took.toFixed(0)} ms; page p99 ${quantile(pages, 0.99)} ms, ` +
    `ping p99 ${quantile(pings, 0.99)} ms; longest wait of a turn ${await metric(server, 'turn_store_wait_max')} us`)
  for (const socket of [...readers, writer, pinger]) await socket.close()
}, { timeout: 60_000 })

test('many with much under way are kept waiting, not refused', async () => {
  const reader = await online(server, asker)
  const sockets = await Promise.all(people.map(one => online(server, one)))
  const refused = await metric(server, 'frames_refused'), begin = performance.now()
  for (const socket of sockets) socket.pause() // they only write
  sockets.forEach((socket, who) => {
    for (let i = 0; i < 200; i++) socket.send({ type: 'message', text: `w${who} ${i}`, nonce: `m${i}` })
  })
  reader.log.length = 1
  let got = 0
  reader.options.onFrame = f => { got += f.type === 'message' }
  await reader.until(() => got === sockets.length * 200, 40_000)
  console.log(`# ${got} messages in ${(performance.now() - begin).toFixed(0)} ms`)
  assertAll(reader, sockets.length, 200)
  assert.equal(await metric(server, 'frames_refused'), refused)
  for (const socket of sockets) socket.tcp.destroy()
  await reader.close()
}, { timeout: 60_000 })

test('the log stays under 16 MiB, however much is under way', async () => {
  const reader = await online(server, asker)
  const sockets = await Promise.all(people.map(one => online(server, one)))
  for (const socket of sockets) socket.pause()
  const text = 'long '.repeat(780)
  // Nonces that are all over the index: each message changes a page of its own.
  sockets.forEach((socket, who) => {
    for (let i = 0; i < 150; i++) socket.send({ type: 'message', text: i % 2 ? `${i}` : text, nonce: `${(who * 7919 + i * 104729) % 1000003}-${'x'.repeat(50)}` })
  })
  let got = 0
  reader.options.onFrame = f => { got += f.type === 'message' }
  await reader.until(() => got === sockets.length * 150, 40_000)
  const mib = statSync(join(server.data, 'chatterbox.db-wal')).size / 1024 / 1024
  console.log(`# the log: ${mib.toFixed(1)} MiB`)
  assert.ok(mib > 4 && mib < 16, `${mib} MiB`)
  for (const socket of sockets) socket.tcp.destroy()
  await reader.close()
}, { timeout: 60_000 })

test('history does not wait for what a login writes', async () => {
  const slow = await startServer({ program: join(dirname(binary), 'tests/chatterbox-slow'), env: { SLOW_SYNC_MS: '600' } })
  const one = await register(slow, 'one')
  let isIn = false
  const entering = login(slow, 'one').then(() => { isIn = true })
  await sleep(250) // the password is verified, and its session is being synced
  await call(slow, 'GET', '/api/rooms/1/messages', { token: one.token }, 200)
  assert.equal(isIn, false, 'the page first')
  await entering
}, { timeout: 30_000 })
