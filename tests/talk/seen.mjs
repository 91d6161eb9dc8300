// Promise: a mark says how far somebody has read a room; it only grows, reaches the others (and one's own sockets) at
// most once a second, survives a restart, and in a large room goes only where it matters (PROTOCOL §1, §3).

import assert from 'node:assert/strict'
import { call, metric, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { sleep, test } from '../support/suite.mjs'

const server = await startServer()
const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map(name => register(server, name)))
let [a, b, c] = await Promise.all([alice, bob, carol].map(person => online(server, person)))
const seenBy = (user, id) => f => f.type === 'seen' && f.user === user && f.id === id
const room1 = w => w.rooms.find(r => r.id === 1)

test('a mark reaches the others and the own sockets', async () => {
  const second = await online(server, bob)
  const said = await a.say('read me')
  await b.until(f => f.id === said.id)
  b.send({ type: 'seen', room: 1, id: said.id })
  for (const s of [a, c, second]) {
    const f = await s.until(seenBy('bob', said.id))
    assert.deepEqual({ ...f }, { type: 'seen', room: 1, user: 'bob', id: said.id })
  }
  await second.close()
})

test('it is in the next welcome: one’s own and the others’', async () => {
  const said = await a.say('and me')
  await b.until(f => f.id === said.id)
  await sleep(1000) // one a second
  b.send({ type: 'seen', room: 1, id: said.id })
  await a.until(seenBy('bob', said.id))
  const again = await online(server, bob)
  assert.equal(room1(again.welcome).seen, said.id)
  await again.close()
  const other = await online(server, alice)
  assert.equal(room1(other.welcome).seen_by.bob, said.id)
  assert.ok(!('alice' in room1(other.welcome).seen_by), 'the others’ marks')
  await other.close()
})

test('it never moves backwards, nor beyond what there is', async () => {
  const one = await a.say('one'), two = await a.say('two')
  await sleep(1000)
  b.send({ type: 'seen', room: 1, id: two.id })
  await a.until(seenBy('bob', two.id))
  await sleep(1000)
  b.send({ type: 'seen', room: 1, id: one.id })
  b.send({ type: 'seen', room: 1, id: two.id })
  b.send({ type: 'seen', room: 1, id: two.id + 1000 })
  await b.reaches(two.rev)
  await sleep(1100)
  await a.reaches(two.rev)
  assert.deepEqual(a.waiting('seen').filter(f => f.user === 'bob' && f.id !== two.id), [])
  const again = await online(server, bob)
  assert.equal(room1(again.welcome).seen, two.id)
  await again.close()
})

test('who asks with a ref is answered at once, and alone', async () => {
  const { id } = await a.say('with a ref')
  for (const asked of [id, id - 1]) {
    b.send({ type: 'seen', room: 1, id: asked, ref: `r${asked}` })
    const { type, room, user, id: mark } = await b.until(f => f.ref === `r${asked}`)
    assert.deepEqual({ type, room, user, mark }, { type: 'seen', room: 1, user: 'bob', mark: id })
  }
  await a.until(seenBy('bob', id))
  assert.ok(!a.log.some(f => f.type === 'seen' && f.ref))
})

test('at most one a second for each user and room; the last one wins', async () => {
  const said = []
  for (let i = 0; i < 10; i++) said.push(await a.say(`s${i}`))
  await sleep(1000)
  a.clear()
  const start = Date.now()
  for (const m of said) b.send({ type: 'seen', room: 1, id: m.id })
  await a.until(seenBy('bob', said.at(-1).id))
  const came = a.log.filter(f => f.type === 'seen' && f.user === 'bob' && f.id >= said[0].id)
  const seconds = (Date.now() - start) / 1000
  assert.ok(came.length <= Math.ceil(seconds) + 1, `${came.length} frames in ${seconds} s`)
})

test('marks outlive a stop and a start', async () => {
  const said = await a.say('last before the stop')
  await sleep(1000)
  b.send({ type: 'seen', room: 1, id: said.id })
  await a.until(seenBy('bob', said.id))
  await server.restart()
  ;[a, b, c] = await Promise.all([alice, bob, carol].map(person => online(server, person)))
  assert.equal(room1(b.welcome).seen, said.id)
  assert.equal(room1(a.welcome).seen_by.bob, said.id)
})

test('a resume tells the marks as well', async () => {
  const said = await a.say('resumed')
  await c.until(f => f.id === said.id)
  c.send({ type: 'seen', room: 1, id: said.id })
  await a.until(seenBy('carol', said.id))
  const again = await online(server, alice, { since: said.rev, epoch: a.welcome.epoch })
  assert.equal(again.welcome.resumed, true)
  assert.equal(room1(again.welcome).seen_by.carol, said.id)
  await again.close()
})

test('a mark in a room that one is not in is refused and tells nobody', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Apart' } }, 201)
  const said = await a.say('alone', { room: room.id })
  await b.askRefused({ type: 'seen', room: room.id, id: said.id }, 'not_member')
})

test('100 marks a second cost at most one commit in five seconds', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Marks', members: ['bob', 'carol'] } }, 201)
  const said = []
  for (let i = 0; i < 300; i++) a.send({ type: 'message', text: `m${i}`, room: room.id, nonce: `mark${i}` })
  for (let i = 0; i < 300; i++) said.push((await a.until(f => f.nonce === `mark${i}`)).id)
  const before = await metric(server, 'commits'), start = Date.now()
  for (let i = 0; i < 300; i++) {
    ;[b, c][i % 2].send({ type: 'seen', room: room.id, id: said[i] })
    if (i % 10 === 9) await sleep(95)
  }
  const commits = await metric(server, 'commits') - before, seconds = (Date.now() - start) / 1000
  assert.ok(commits <= Math.ceil(seconds / 5) + 1, `${commits} commits in ${seconds} s`)
}, { timeout: 20_000 })

test('in a room of more than 50 a mark goes to the reader’s own sockets and to the authors it covers', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Crowd' } }, 201)
  for (let i = 0; i < 51; i++) {
    const person = await register(server, `crowd${i}`)
    await call(server, 'POST', `/api/rooms/${room.id}/members`, { token: person.token, json: { username: person.username } }, 204)
  }
  for (const person of [bob, carol]) await call(server, 'POST', `/api/rooms/${room.id}/members`, { token: person.token, json: { username: person.username } }, 204)
  const second = await online(server, bob)
  const said = await a.say('to the crowd', { room: room.id })
  await Promise.all([b, c].map(s => s.until(f => f.id === said.id)))
  b.send({ type: 'seen', room: room.id, id: said.id })
  await a.until(seenBy('bob', said.id))
  await second.until(seenBy('bob', said.id))
  const next = await a.say('after', { room: room.id })
  await c.reaches(next.rev)
  assert.deepEqual(c.waiting('seen').filter(f => f.room === room.id), [], 'carol wrote nothing that bob has read')
  const again = await online(server, alice)
  const marks = again.welcome.rooms.find(r => r.id === room.id).seen_by
  assert.deepEqual(marks, { '*': said.id })
  await again.close()
  await second.close()
}, { timeout: 30_000 })
