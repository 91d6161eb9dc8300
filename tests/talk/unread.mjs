// Promise: every room tells its reader how many messages are unread and how many of them mention him, counted to 999,
// and a new member begins with nothing unread (PROTOCOL §2.3).

import assert from 'node:assert/strict'
import { call, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice'), bob = await register(server, 'bob')
const a = await online(server, alice)

/** What a fresh connection and the HTTP list tell of a room; both must say the same. */
async function marks(person, id = 1) {
  const s = await online(server, person)
  await s.close()
  const pick = r => ({ seen: r.seen, unread: r.unread, mentions: r.mentions })
  const welcome = pick(s.welcome.rooms.find(r => r.id === id))
  const { rooms } = await call(server, 'GET', '/api/rooms', { token: person.token }, 200)
  assert.deepEqual(pick(rooms.find(r => r.id === id)), welcome)
  return welcome
}

test('what others said since the mark is unread', async () => {
  const before = await marks(bob)
  assert.equal(before.unread, 0)
  const said = []
  for (let i = 0; i < 5; i++) said.push(await a.say(`news ${i}`))
  assert.deepEqual(await marks(bob), { seen: before.seen, unread: 5, mentions: 0 })
  const b = await online(server, bob)
  b.send({ type: 'seen', room: 1, id: said[2].id })
  await a.until(f => f.type === 'seen' && f.id === said[2].id)
  assert.deepEqual(await marks(bob), { seen: said[2].id, unread: 2, mentions: 0 })
  await b.close()
})

test('a mention is counted and listed in the message', async () => {
  const said = await a.say('hello @bob, have you met @nobody-here?')
  assert.ok((said.mentions ?? []).includes('bob'), JSON.stringify(said))
  assert.ok(!(said.mentions ?? []).includes('nobody-here'))
  await a.say('mail@bob.example is no mention, nor is @bobby')
  const { mentions } = await marks(bob)
  assert.equal(mentions, 1)
})

test('who is not in the room is not mentioned', async () => {
  const eve = await register(server, 'eve')
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Whispers', private: true, members: ['bob'] } }, 201)
  const said = await a.say('do not tell @eve, @bob', { room: room.id })
  assert.deepEqual(said.mentions, ['bob'])
  const s = await online(server, eve)
  assert.ok(!s.log.some(f => /do not tell/.test(f.wire.text)))
  await s.close()
})

test('a new member starts with nothing unread', async () => {
  const carol = await register(server, 'carol')
  const last = await a.say('newest')
  const dave = await register(server, 'dave')
  assert.deepEqual(await marks(dave), { seen: last.id, unread: 0, mentions: 0 })
  assert.equal((await marks(carol)).unread, 1)
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Later' } }, 201)
  const old = await a.say('said before', { room: room.id })
  await call(server, 'POST', `/api/rooms/${room.id}/members`, { token: bob.token, json: { username: 'bob' } }, 204)
  assert.deepEqual(await marks(bob, room.id), { seen: old.id, unread: 0, mentions: 0 })
})

test('a room joined while away is told twice with the same counts, in welcome and by the replay', async () => {
  const b = await online(server, bob), since = (await b.ask({ type: 'ping' })).rev
  await b.close()
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Meanwhile' } }, 201)
  await a.say('said before', { room: room.id })
  await call(server, 'POST', `/api/rooms/${room.id}/members`, { token: alice.token, json: { username: 'bob' } }, 204)
  for (let i = 0; i < 3; i++) await a.say(`said to @bob ${i}`, { room: room.id })
  const again = await online(server, bob, { since, epoch: b.welcome.epoch })
  assert.equal(again.welcome.resumed, true)
  const told = again.welcome.rooms.find(r => r.id === room.id)
  assert.deepEqual([told.unread, told.mentions], [3, 3])
  assert.deepEqual(again.log.find(f => f.type === 'room' && f.room.id === room.id).room, told)
  // Who joins now has none.
  const { room: next } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Right Now', members: ['bob'] } }, 201)
  assert.equal((await again.until(f => f.type === 'room' && f.room.id === next.id)).room.unread, 0)
  await again.close()
})

test('unread stops at 999', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Noise', members: ['bob'] } }, 201)
  for (let i = 0; i < 1010; i++) a.send({ type: 'message', text: `n${i}`, room: room.id, nonce: `u${i}` })
  await a.until(f => f.nonce === 'u1009', 20_000)
  assert.equal((await marks(bob, room.id)).unread, 999)
}, { timeout: 30_000 })
