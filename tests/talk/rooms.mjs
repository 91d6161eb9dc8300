// Promise: rooms are made, joined, left and archived by those who may, everybody is in the lobby, and a private room
// that one is not in never shows: no frame, no history, no member list, no edit by a guessed id (PROTOCOL §2.3, §3).

import assert from 'node:assert/strict'
import { call, http, online, refused, register, registerAdmin, ws } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const admin = await registerAdmin(server)
const [alice, bob, eve] = await Promise.all(['alice', 'bob', 'eve'].map(name => register(server, name)))

const api = (person, method, path, json) => http(server, method, path, { token: person.token, ...(json === undefined ? {} : { json }) })
const make = async (person, json) => (await call(server, 'POST', '/api/rooms', { token: person.token, json }, 201)).room
const join = (person, room, who = person) => call(server, 'POST', `/api/rooms/${room}/members`, { token: person.token, json: { username: who.username } }, 204)
const leave = (person, room, who = person) => api(person, 'DELETE', `/api/rooms/${room}/members/${who.username}`)
const roomsOf = async person => (await call(server, 'GET', '/api/rooms', { token: person.token }, 200)).rooms
const names = list => list.map(u => u.username).sort()

test('the lobby is room 1, everybody is in it and nobody leaves it', async () => {
  const lobby = (await roomsOf(alice)).find(r => r.id === 1)
  assert.equal(lobby.kind, 'room')
  assert.equal(lobby.private, false)
  assert.equal(lobby.archived, false)
  assert.equal(lobby.joined, true)
  assert.equal(lobby.members, 4)
  const { members } = await call(server, 'GET', '/api/rooms/1/members', { token: alice.token }, 200)
  assert.deepEqual(names(members), ['alice', 'bob', 'eve', 'root'])
  for (const [by, who] of [[alice, alice], [admin, bob], [admin, admin]]) {
    const res = await leave(by, 1, who)
    assert.ok([400, 403, 409].includes(res.status), `${res.status} ${res.text}`)
  }
  assert.equal((await call(server, 'GET', '/api/rooms/1/members', { token: alice.token })).members.length, 4)
})

test('a room is made with 201, owned by its maker, and told to everybody online', async () => {
  const a = await online(server, alice), b = await online(server, bob)
  const room = await make(alice, { name: 'Garden Club', topic: 'all about peas' })
  assert.ok(Number.isInteger(room.id) && room.id > 1)
  assert.equal(room.name, 'Garden Club')
  assert.equal(room.topic, 'all about peas')
  assert.equal(room.owner, 'alice')
  assert.equal(room.private, false)
  assert.equal(room.kind, 'room')
  assert.equal(room.members, 1)
  assert.equal(room.joined, true)
  const mine = await a.until(f => f.type === 'room' && f.room.id === room.id && f.room.joined)
  assert.equal(mine.room.joined, true)
  assert.equal((await roomsOf(bob)).find(r => r.id === room.id).joined, false)
  await a.close()
  await b.close()
})

test('names of rooms are unique after folding, and have a form', async () => {
  await make(alice, { name: 'Kitchen' })
  for (const name of ['Kitchen', 'KITCHEN', 'Ｋitchen', 'kitchen']) {
    await refused(server, 'POST', '/api/rooms', { token: bob.token, json: { name } }, 409, 'name_taken')
  }
  for (const name of ['', '   ', 'x'.repeat(65), 'a/b', 'a\nb', '😀', '<b>', 'a\u202eb', 'a:b']) {
    await refused(server, 'POST', '/api/rooms', { token: bob.token, json: { name } }, 422, 'bad_name')
  }
  await make(bob, { name: '界'.repeat(64) })
  await make(bob, { name: 'r2_d2 - v1.0' })
  assert.ok((await api(bob, 'POST', '/api/rooms', { name: 'Topical', topic: 't'.repeat(251) })).status >= 400)
  await make(bob, { name: 'Topical', topic: 'т'.repeat(250) })
  for (const bad of [{}, { name: 7 }, [], { name: 'x', topic: 7 }]) {
    const res = await api(bob, 'POST', '/api/rooms', bad)
    assert.ok([400, 422].includes(res.status), `${JSON.stringify(bad)}: ${res.status}`)
  }
  await refused(server, 'POST', '/api/rooms', { json: { name: 'Nobody' } }, 401, 'unauthorized')
})

test('a public room is joined and left by oneself', async () => {
  const room = await make(alice, { name: 'Harbour' })
  const a = await online(server, alice), b = await online(server, bob)
  await a.say('before bob', { room: room.id })
  await b.askRefused({ type: 'message', text: 'let me in', room: room.id }, 'not_member')
  await b.askRefused({ type: 'history', room: room.id }, 'not_member')
  await refused(server, 'GET', `/api/rooms/${room.id}/messages`, { token: bob.token }, 403, 'not_member')
  await refused(server, 'GET', `/api/rooms/${room.id}/members`, { token: bob.token }, 403, 'not_member')
  await join(bob, room.id)
  const frame = await b.until(f => f.type === 'room' && f.room.id === room.id && f.room.joined)
  assert.equal(frame.room.members, 2)
  const { messages } = await b.ask({ type: 'history', room: room.id })
  assert.deepEqual(messages.map(m => m.text), ['before bob'])
  const said = await b.say('hello', { room: room.id })
  await a.until(f => f.id === said.id)
  await join(bob, room.id) // once more changes nothing
  assert.equal((await leave(bob, room.id)).status, 204)
  const gone = await b.until(f => f.type === 'room' && f.left)
  assert.equal(gone.room.id, room.id)
  assert.equal(gone.left, true)
  const after = await a.say('bob is gone', { room: room.id })
  await b.reaches(after.rev)
  assert.deepEqual(b.waiting('message').filter(m => m.text === 'bob is gone'), [])
  await b.askRefused({ type: 'message', text: 'still here?', room: room.id }, 'not_member')
  await a.close()
  await b.close()
})

test('a member invites, the owner and an admin remove, others do not', async () => {
  const room = await make(alice, { name: 'Attic' })
  const res = await api(bob, 'POST', `/api/rooms/${room.id}/members`, { username: 'eve' })
  assert.equal(res.status, 403, 'who is not a member invites nobody')
  await join(alice, room.id, bob)
  await join(bob, room.id, eve)
  assert.equal((await leave(bob, room.id, eve)).status, 403, 'a member removes nobody')
  assert.equal((await leave(alice, room.id, eve)).status, 204)
  assert.equal((await leave(admin, room.id, bob)).status, 204)
  await refused(server, 'POST', `/api/rooms/${room.id}/members`, { token: alice.token, json: { username: 'nobody-at-all' } }, 404, 'not_found')
  assert.deepEqual(names((await call(server, 'GET', `/api/rooms/${room.id}/members`, { token: alice.token })).members), ['alice'])
})

test('the answer to a change counts what is unread', async () => {
  const room = await make(alice, { name: 'Cupboard' }), b = await online(server, bob)
  await join(bob, room.id)
  for (let i = 0; i < 3; i++) await b.say('for you, @alice', { room: room.id })
  for (const json of [{ topic: 'plates' }, {}]) {
    const { room: told } = await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json }, 200)
    assert.deepEqual([told.unread, told.mentions], [3, 3])
  }
  await b.close()
})

test('a change that changes nothing is no mistake, and no change', async () => {
  const room = await make(alice, { name: 'Loft above' })
  const { room: same } = await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { color: 'blue' } }, 200)
  assert.deepEqual([same.name, same.rev, same.joined], ['Loft above', room.rev, true])
  const { user } = await call(server, 'GET', '/api/me', { token: alice.token }, 200)
  assert.deepEqual((await call(server, 'PATCH', '/api/me', { token: alice.token, json: {} }, 200)).user, user)
})

test('a room is renamed by its owner and by an admin, and everybody in it hears of it', async () => {
  const room = await make(alice, { name: 'Cellar' })
  await join(bob, room.id)
  const b = await online(server, bob)
  assert.equal((await api(bob, 'PATCH', `/api/rooms/${room.id}`, { name: 'Mine' })).status, 403)
  const changed = (await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { name: 'Wine Cellar', topic: 'red' } }, 200)).room
  assert.equal(changed.name, 'Wine Cellar')
  assert.ok(changed.rev > room.rev)
  const frame = await b.until(f => f.type === 'room' && f.room.name === 'Wine Cellar')
  assert.equal(frame.rev, changed.rev)
  for (const own of ['seen', 'unread', 'mentions', 'with']) assert.ok(!(own in frame.room), `a broadcast leaves ${own} out`)
  assert.equal((await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: admin.token, json: { topic: 'white' } }, 200)).room.topic, 'white')
  await refused(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { name: 'KITCHEN' } }, 409, 'name_taken')
  await refused(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { name: 'a/b' } }, 422, 'bad_name')
  await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { name: 'WINE cellar' } }, 200)
  await make(bob, { name: 'Cellar' }) // the old name is free again
  await b.close()
})

test('an archived room can be read and not written', async () => {
  const room = await make(alice, { name: 'Old Times' })
  const a = await online(server, alice)
  const said = await a.say('the last word', { room: room.id })
  const { room: archived } = await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { archived: true } }, 200)
  assert.equal(archived.archived, true)
  await a.askRefused({ type: 'message', text: 'one more', room: room.id }, 'archived')
  await a.askRefused({ type: 'edit', id: said.id, text: 'changed' }, 'archived')
  assert.deepEqual((await a.ask({ type: 'history', room: room.id })).messages.map(m => m.text), ['the last word'])
  await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { archived: false } }, 200)
  await a.say('again', { room: room.id })
  await a.close()
})

test('a private room is made with its members, who see it at once', async () => {
  const b = await online(server, bob)
  const room = await make(alice, { name: 'Duo', private: true, members: ['bob'] })
  assert.equal(room.private, true)
  assert.equal(room.members, 2)
  await b.until(f => f.type === 'room' && f.room.id === room.id && f.room.joined)
  assert.ok((await roomsOf(bob)).some(r => r.id === room.id && r.joined))
  const again = await ws(server, { token: bob.token })
  assert.ok((await again.next('welcome')).rooms.some(r => r.id === room.id))
  await again.close()
  await b.close()
})

test('a private room never shows to others: no frame, no list, no history, no member list, no guessed id', async () => {
  const e = await online(server, eve), a = await online(server, alice)
  const room = await make(alice, { name: 'Hideout', topic: 'secret', private: true, members: ['bob'] })
  const said = await a.say('psst, the treasure', { room: room.id })
  a.send({ type: 'edit', id: said.id, text: 'psst, the gold' })
  await a.until(f => f.id === said.id && f.edited)
  a.send({ type: 'typing', room: room.id })
  a.send({ type: 'seen', room: room.id, id: said.id })
  await call(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { topic: 'very secret' } }, 200)
  const last = await a.say('to all') // in the lobby: eve has got everything that she ever will
  await e.reaches(last.rev)
  assert.ok(!e.log.some(f => /Hideout|treasure|gold|secret/.test(f.wire.text) || f.room === room.id || f.room?.id === room.id), 'a frame told of it')
  assert.ok(!(await roomsOf(eve)).some(r => r.id === room.id))
  assert.ok(!(await roomsOf(admin)).some(r => r.id === room.id), 'not even to administrators who are not in it')

  // What is refused is refused as for a thing that never was: existence itself is not told.
  const never = 999_999
  for (const [method, path, json] of [
    ['GET', '/api/rooms/ID/messages'], ['GET', '/api/rooms/ID/members'], ['PATCH', '/api/rooms/ID', { topic: 'mine' }], ['POST', '/api/rooms/ID/members', { username: 'eve' }],
    ['DELETE', '/api/rooms/ID/members/eve'], ['DELETE', '/api/rooms/ID/members/bob'],
  ]) {
    const real = await api(eve, method, path.replace('ID', room.id), json), fake = await api(eve, method, path.replace('ID', never), json)
    assert.ok(real.status >= 400, `${method} ${path} gave ${real.status}`)
    assert.deepEqual([real.status, real.text], [fake.status, fake.text], `${method} ${path}`)
  }
  const answers = async (id, message) => {
    const list = []
    for (const frame of [{ type: 'message', room: id, text: 'x' }, { type: 'history', room: id }, { type: 'seen', room: id, id: message }, { type: 'edit', id: message, text: 'x' },
      { type: 'delete', id: message }]) {
      const { type, code, message: sentence } = await e.ask(frame)
      list.push({ request: frame.type, type, code, sentence })
    }
    return list
  }
  const real = await answers(room.id, said.id)
  for (const answer of real) assert.equal(answer.type, 'error', JSON.stringify(answer))
  assert.deepEqual(real, await answers(never, never))
  await e.askRefused({ type: 'message', text: 'look', reply: said.id }, 'not_found')
  const r = await online(server, admin) // who may delete anywhere, but only where he is
  await r.askRefused({ type: 'delete', id: said.id }, 'not_found')
  await r.close()
  const { messages } = await a.ask({ type: 'history', room: room.id })
  assert.deepEqual(messages.map(m => m.text), ['psst, the gold'])

  // A typing hint has no answer; it must reach nobody.
  e.send({ type: 'typing', room: room.id })
  await e.reaches(0)
  await a.reaches(0)
  assert.deepEqual(a.waiting('typing').filter(f => f.user === 'eve'), [])
  // A new connection, fresh or resumed from the beginning, learns nothing either.
  for (const options of [{}, { since: 0, epoch: e.welcome.epoch }]) {
    const again = await online(server, eve, options)
    assert.ok(!again.log.some(f => /Hideout|treasure|gold|secret/.test(f.wire.text)))
    await again.close()
  }
  await a.close()
  await e.close()
})

test('who is removed from a private room loses it at once, on every socket, and cannot come back by itself', async () => {
  const room = await make(alice, { name: 'Boat', private: true, members: ['bob'] })
  const a = await online(server, alice), b1 = await online(server, bob), b2 = await online(server, bob)
  const said = await b1.say('ahoy', { room: room.id })
  assert.equal((await leave(alice, room.id, bob)).status, 204)
  for (const b of [b1, b2]) assert.equal((await b.until(f => f.type === 'room' && f.left)).room.id, room.id)
  const after = await a.say('without bob', { room: room.id })
  for (const b of [b1, b2]) {
    await b.reaches(after.rev)
    assert.ok(!b.log.some(f => f.text === 'without bob'))
  }
  assert.equal((await b1.ask({ type: 'edit', id: said.id, text: 'late' })).type, 'error')
  assert.equal((await b1.ask({ type: 'delete', id: said.id })).type, 'error')
  assert.ok((await api(bob, 'POST', `/api/rooms/${room.id}/members`, { username: 'bob' })).status >= 400)
  assert.ok(!(await roomsOf(bob)).some(r => r.id === room.id))
  for (const s of [a, b1, b2]) await s.close()
})

test('who is invited into a private room reads what was said before', async () => {
  const room = await make(alice, { name: 'Loft', private: true })
  const a = await online(server, alice), b = await online(server, bob)
  await a.say('first', { room: room.id })
  await join(alice, room.id, bob)
  const frame = await b.until(f => f.type === 'room' && f.room.id === room.id && f.room.joined)
  assert.equal(frame.room.unread, 0, "a new member's mark is the newest message")
  assert.deepEqual((await b.ask({ type: 'history', room: room.id })).messages.map(m => m.text), ['first'])
  await a.close()
  await b.close()
})

test('names of any script are invited and removed, percent-escaped in the path', async () => {
  const person = await register(server, 'Ünïcode-李')
  const room = await make(alice, { name: 'Scripts', private: true })
  await join(alice, room.id, person)
  assert.ok((await roomsOf(person)).some(r => r.id === room.id && r.joined))
  assert.equal((await api(alice, 'DELETE', `/api/rooms/${room.id}/members/${encodeURIComponent(person.username)}`)).status, 204)
  assert.ok(!(await roomsOf(person)).some(r => r.id === room.id))
  assert.equal((await api(alice, 'DELETE', `/api/rooms/${room.id}/members/${encodeURIComponent(person.username)}`)).status, 404)
})

test('members are paged by cursor', async () => {
  const walked = []
  for (let after = ''; ;) {
    const page = await call(server, 'GET', `/api/rooms/1/members?limit=1&after=${encodeURIComponent(after)}`, { token: alice.token }, 200)
    walked.push(...names(page.members))
    if (!page.more) break
    after = walked.at(-1)
  }
  assert.deepEqual([...walked].sort(), ['alice', 'bob', 'eve', 'root', 'Ünïcode-李'].sort())
})

test('the lobby is renamed by an administrator alone', async () => {
  assert.equal((await api(alice, 'PATCH', '/api/rooms/1', { name: 'Mine' })).status, 403)
  assert.equal((await call(server, 'PATCH', '/api/rooms/1', { token: admin.token, json: { topic: 'for all' } }, 200)).room.topic, 'for all')
})

test('nobody is locked out by being invited into many rooms', async () => {
  const guest = await register(server, 'guest')
  for (const name of ['maker1', 'maker2', 'maker3']) {
    const maker = await register(server, name)
    for (let i = 0; i < 100; i++) {
      const res = await api(maker, 'POST', '/api/rooms', { name: `${name} ${'界'.repeat(50)} ${i}`, topic: '🐘'.repeat(250), members: ['guest'] })
      assert.ok([201, 422].includes(res.status), `${res.status} ${res.text}`) // an invitation may be refused: there can be a bound
    }
  }
  const g = await online(server, guest) // which also looks that no frame is over 128 KiB
  const mine = (await roomsOf(guest)).filter(r => r.joined).map(r => r.id)
  assert.deepEqual(g.welcome.rooms.map(r => r.id).sort(), mine.sort(), 'welcome holds every room')
  assert.ok(mine.length > 50)
  await g.say('still here')
  await g.close()
}, { timeout: 20_000 })
