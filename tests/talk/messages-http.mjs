// Promise: the past of a room is read over HTTP in pages by cursor, both ways and around a message, and no page is over
// 128 KiB (PROTOCOL §2.3).

import assert from 'node:assert/strict'
import { call, http, online, refused, register, wholeRoom } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice')
const socket = await online(server, alice)
const ids = []
for (let i = 0; i < 230; i++) ids.push((await socket.say(`message ${i}`)).id)

const page = (query, room = 1) => call(server, 'GET', `/api/rooms/${room}/messages${query}`, { token: alice.token }, 200)
const idsOf = list => list.map(m => m.id)

test('without a cursor: the newest 50, ascending', async () => {
  const { messages, more } = await page('')
  assert.deepEqual(idsOf(messages), ids.slice(-50))
  assert.equal(more, true)
  const last = messages.at(-1)
  assert.equal(last.text, 'message 229')
  assert.equal(last.sender, 'alice')
  assert.equal(last.room, 1)
  assert.ok(last.rev >= last.id)
  assert.ok(Math.abs(last.time - Date.now()) < 60_000)
})

test('limit is clamped to 1–200, and is a number', async () => {
  assert.deepEqual(idsOf((await page('?limit=1')).messages), ids.slice(-1))
  assert.deepEqual(idsOf((await page('?limit=0')).messages), ids.slice(-1))
  assert.deepEqual(idsOf((await page('?limit=-3')).messages), ids.slice(-1))
  assert.deepEqual(idsOf((await page('?limit=201')).messages), ids.slice(-200))
  assert.deepEqual(idsOf((await page('?limit=999999999999999')).messages), ids.slice(-200))
  for (const bad of ['limit=', 'limit=ten', 'limit=1e2', 'limit=5x', 'before=x', 'after=', 'around=1.5']) {
    await refused(server, 'GET', `/api/rooms/1/messages?${bad}`, { token: alice.token }, 400, 'bad_request')
  }
})

test('before: those just before it, and more tells of older ones', async () => {
  assert.deepEqual(idsOf((await page(`?before=${ids[100]}&limit=10`)).messages), ids.slice(90, 100))
  const first = await page(`?before=${ids[10]}&limit=10`)
  assert.deepEqual(idsOf(first.messages), ids.slice(0, 10))
  assert.equal(first.more, false)
  assert.equal((await page(`?before=${ids[11]}&limit=10`)).more, true)
  assert.deepEqual(await page(`?before=${ids[0]}`), { messages: [], more: false })
})

test('after: those just after it, and more tells of newer ones', async () => {
  const some = await page(`?after=${ids[100]}&limit=10`)
  assert.deepEqual(idsOf(some.messages), ids.slice(101, 111))
  assert.equal(some.more, true)
  const end = await page(`?after=${ids.at(-11)}&limit=10`)
  assert.deepEqual(idsOf(end.messages), ids.slice(-10))
  assert.equal(end.more, false)
  assert.deepEqual(await page(`?after=${ids.at(-1)}`), { messages: [], more: false })
  assert.deepEqual(idsOf((await page('?after=0&limit=3')).messages), ids.slice(0, 3))
})

test('around: half before, half after, with a flag for each side', async () => {
  const { messages, more_before, more_after } = await page(`?around=${ids[100]}&limit=20`)
  const list = idsOf(messages)
  assert.ok(list.length <= 20 && list.includes(ids[100]))
  const at = list.indexOf(ids[100])
  assert.ok(Math.abs(at - (list.length - 1 - at)) <= 1, `${at} before of ${list.length}`)
  assert.deepEqual(list, ids.slice(100 - at, 100 - at + list.length))
  assert.deepEqual([more_before, more_after], [true, true])
  const start = await page(`?around=${ids[0]}&limit=20`)
  assert.equal(start.more_before, false)
  assert.equal(start.more_after, true)
  assert.equal(start.messages[0].id, ids[0])
  const end = await page(`?around=${ids.at(-1)}&limit=20`)
  assert.equal(end.more_before, true)
  assert.equal(end.more_after, false)
  assert.equal(end.messages.at(-1).id, ids.at(-1))
})

test('the three exclude each other', async () => {
  for (const query of ['before=9&after=1', 'before=9&around=5', 'after=1&around=5', 'before=9&after=1&around=5']) {
    await refused(server, 'GET', `/api/rooms/1/messages?${query}`, { token: alice.token }, 400, 'bad_request')
  }
})

test('walking both ways shows each message once', async () => {
  const up = []
  for (let before = Number.MAX_SAFE_INTEGER; ;) {
    const { messages, more } = await page(`?before=${before}&limit=37`)
    up.unshift(...idsOf(messages))
    if (!more) break
    before = messages[0].id
  }
  assert.deepEqual(up, ids)
  assert.deepEqual(idsOf(await wholeRoom(server, alice.token, 1, 41)), ids)
})

test('no page is over 128 KiB; it ends earlier, says more, and holds at least one message', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Long Letters' } }, 201)
  const long = []
  for (let i = 0; i < 24; i++) long.push((await socket.say(String(i).padEnd(10) + '🐘'.repeat(3990), { room: room.id })).id)
  const newest = await http(server, 'GET', `/api/rooms/${room.id}/messages?limit=200`, { token: alice.token })
  assert.ok(newest.body.length <= 128 * 1024, `${newest.body.length}`)
  assert.equal(newest.json.more, true)
  assert.ok(newest.json.messages.length >= 1)
  assert.equal(newest.json.messages.at(-1).id, long.at(-1), 'what is left out is the far end')
  const forward = await http(server, 'GET', `/api/rooms/${room.id}/messages?limit=200&after=0`, { token: alice.token })
  assert.ok(forward.body.length <= 128 * 1024)
  assert.equal(forward.json.messages[0].id, long[0])
  assert.equal(forward.json.more, true)
  const around = await http(server, 'GET', `/api/rooms/${room.id}/messages?limit=200&around=${long[12]}`, { token: alice.token })
  assert.ok(around.body.length <= 128 * 1024)
  assert.ok(idsOf(around.json.messages).includes(long[12]))
  assert.deepEqual(idsOf(await wholeRoom(server, alice.token, room.id)), long)
  const frame = await socket.ask({ type: 'history', room: room.id, limit: 200 })
  assert.ok(frame.wire.size <= 128 * 1024)
  assert.equal(frame.more, true)
  assert.equal(frame.messages.at(-1).id, long.at(-1))
  const again = await online(server, alice)
  assert.ok(again.log.every(f => f.wire.size <= 128 * 1024))
  await again.close()
}, { timeout: 20_000 })

test('history over the socket pages the same way', async () => {
  const first = await socket.ask({ type: 'history', room: 1 })
  assert.deepEqual(idsOf(first.messages), ids.slice(-50))
  assert.equal(first.more, true)
  assert.equal(first.room, 1)
  const older = await socket.ask({ type: 'history', room: 1, before: first.messages[0].id, limit: 20 })
  assert.deepEqual(idsOf(older.messages), ids.slice(-70, -50))
  const start = await socket.ask({ type: 'history', room: 1, before: ids[5], limit: 20 })
  assert.deepEqual(idsOf(start.messages), ids.slice(0, 5))
  assert.equal(start.more, false)
})

test('nobody reads without a session, or a room that is not there', async () => {
  await refused(server, 'GET', '/api/rooms/1/messages', {}, 401, 'unauthorized')
  await refused(server, 'GET', '/api/rooms/77777/messages', { token: alice.token }, 404, 'not_found')
  for (const id of ['x', '-1', '0', '1x', '99999999999999999999', '1.0']) {
    const res = await http(server, 'GET', `/api/rooms/${id}/messages`, { token: alice.token })
    assert.ok([400, 404].includes(res.status), `${id}: ${res.status}`)
  }
})
