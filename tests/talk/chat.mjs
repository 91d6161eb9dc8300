// Promise: what one says reaches everybody, once and in one order; it can be answered, edited by its author and deleted
// by those who may (PROTOCOL §3).

import assert from 'node:assert/strict'
import { call, online, register, registerAdmin, ws } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const admin = await registerAdmin(server)
const people = await Promise.all(['alice', 'bob', 'carol'].map(name => register(server, name)))
const [alice, bob, carol] = people
const [a, b, c] = await Promise.all(people.map(person => online(server, person)))

test('welcome is first and tells who, where and what the limits are', async () => {
  const w = a.welcome
  assert.equal(a.log[0], w)
  assert.equal(w.resumed, false)
  assert.ok(Math.abs(w.time - Date.now()) < 60_000)
  assert.equal(w.user.username, 'alice')
  assert.equal(w.user.warnings, 0)
  assert.equal(w.user.blocked, false)
  assert.equal(w.limits.text, 4000)
  assert.equal(w.limits.frame, 65536)
  assert.equal(w.server.name, 'ChatterBox')
  assert.match(w.server.version, /^\d+\.\d+\.\d+/)
  const lobby = w.rooms.find(r => r.id === 1)
  assert.equal(lobby.joined, true)
  for (const field of ['rev', 'kind', 'name', 'topic', 'private', 'archived', 'owner', 'members', 'last', 'seen', 'unread', 'mentions', 'seen_by']) {
    assert.ok(field in lobby, `a room has ${field}`)
  }
  const ready = a.log.find(f => f.type === 'ready')
  assert.ok(ready.online.includes('alice'))
  const me = await call(server, 'GET', '/api/me', { token: alice.token })
  assert.equal(me.epoch, w.epoch)
})

test('a message reaches everybody, its sender too, and has its nonce', async () => {
  a.send({ type: 'message', text: 'hello all', room: 1, nonce: 'n-1' })
  const frames = await Promise.all([a, b, c].map(s => s.until(f => f.type === 'message' && f.text === 'hello all')))
  for (const f of frames) {
    assert.equal(f.room, 1)
    assert.equal(f.sender, 'alice')
    assert.equal(f.nonce, 'n-1')
    assert.equal(f.rev, f.id)
    assert.ok(Math.abs(f.time - Date.now()) < 60_000)
    for (const unset of ['reply', 'edited', 'deleted', 'file', 'reactions', 'bot', 'repeat']) assert.ok(!(unset in f), `${unset} is there only when set`)
  }
  assert.equal(new Set(frames.map(f => f.wire.text)).size, 1, 'the same bytes for all')
})

test('without a room it goes to the lobby, without a nonce it works as well', async () => {
  b.send({ type: 'message', text: 'no room, no nonce' })
  const f = await c.until(m => m.text === 'no room, no nonce')
  assert.equal(f.room, 1)
  assert.ok(!('nonce' in f))
})

test('a second socket of the same person gets it too', async () => {
  const second = await online(server, alice)
  const said = await a.say('two tabs')
  assert.equal((await second.until(f => f.id === said.id)).nonce, said.nonce)
  await a.reaches(said.rev)
  await second.close()
})

test('text is trimmed, CRLF becomes LF, all else is kept as it is', async () => {
  for (const [sent, stored] of [
    ['  padded \t\n', 'padded'], ['a\r\nb', 'a\nb'], ['tab\tinside', 'tab\tinside'], ['\u2003em space\u00a0', 'em space'], ['<b>&amp;"\'</b>', '<b>&amp;"\'</b>'],
    ['e\u0301 stays decomposed', 'e\u0301 stays decomposed'], ['👩‍👩‍👧‍👦', '👩‍👩‍👧‍👦'], ['שלום \u202eabc', 'שלום \u202eabc'], ['\\u0041 \\n', '\\u0041 \\n'], ['𝒳'.repeat(4000), '𝒳'.repeat(4000)],
    ['x\u2028y', 'x\u2028y'], ['"\\/', '"\\/'],
  ]) {
    const f = await a.say(sent)
    assert.equal(f.text, stored)
    assert.equal((await b.until(m => m.id === f.id)).text, f.text)
  }
})

test('a reply names a message of the same room', async () => {
  const first = await a.say('question')
  const answer = await b.say('answer', { reply: first.id })
  assert.equal(answer.reply, first.id)
  assert.equal((await a.until(f => f.id === answer.id)).reply, first.id)
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Elsewhere' } }, 201)
  await a.askRefused({ type: 'message', text: 'x', room: room.id, reply: first.id }, 'not_found')
  await a.askRefused({ type: 'message', text: 'x', reply: 88888888 }, 'not_found')
})

test('the author edits: the same message again with a higher rev', async () => {
  const said = await a.say('tpyo')
  a.send({ type: 'edit', id: said.id, text: 'typo', ref: 'e1' })
  for (const s of [a, b]) {
    const f = await s.until(m => m.id === said.id && m.edited)
    assert.equal(f.type, 'message')
    assert.equal(f.text, 'typo')
    assert.ok(f.rev > said.rev)
    assert.equal(f.time, said.time)
    assert.ok(f.edited >= said.time)
    assert.equal(f.sender, 'alice')
  }
  const page = await call(server, 'GET', `/api/rooms/1/messages?around=${said.id}&limit=2`, { token: carol.token })
  assert.equal(page.messages.find(m => m.id === said.id).text, 'typo')
})

test('nobody else edits, whatever the role', async () => {
  const said = await a.say('mine')
  const r = await online(server, admin)
  await b.askRefused({ type: 'edit', id: said.id, text: 'yours' }, 'forbidden')
  await r.askRefused({ type: 'edit', id: said.id, text: 'ours' }, 'forbidden')
  await a.askRefused({ type: 'edit', id: said.id, text: '   ' }, 'empty')
  await a.askRefused({ type: 'edit', id: said.id, text: 'x'.repeat(4001) }, 'too_long')
  await a.askRefused({ type: 'edit', id: 99999999, text: 'x' }, 'not_found')
  await r.close()
})

test('the author deletes: a tombstone without text, for good', async () => {
  const said = await a.say('regretted')
  a.send({ type: 'delete', id: said.id })
  const f = await b.until(m => m.id === said.id && m.deleted)
  assert.equal(f.text, '')
  assert.ok(f.rev > said.rev)
  assert.ok(Math.abs(f.deleted - Date.now()) < 60_000)
  await a.askRefused({ type: 'edit', id: said.id, text: 'back' }, 'not_found')
  const fresh = await online(server, carol)
  assert.ok(!fresh.log.some(x => x.wire.text.includes('regretted')))
  await fresh.close()
})

test('others delete only as moderator, as administrator, or as owner of the room', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: carol.token, json: { name: "Carol-s", members: ['alice', 'bob'] } }, 201)
  for (const [s, id] of [[b, 1], [b, room.id]]) {
    const said = await a.say('leave it', { room: id })
    await s.askRefused({ type: 'delete', id: said.id }, 'forbidden')
  }
  const lobby = await a.say('in the lobby')
  await c.askRefused({ type: 'delete', id: lobby.id }, 'forbidden')
  const owned = await a.say('in her room', { room: room.id })
  c.send({ type: 'delete', id: owned.id })
  await a.until(m => m.id === owned.id && m.deleted)
  const r = await online(server, admin)
  r.send({ type: 'delete', id: lobby.id })
  await a.until(m => m.id === lobby.id && m.deleted)
  await r.close()
  const moderator = await register(server, 'moddie')
  await server.cli(['user', 'role', 'moddie', 'moderator']).then(({ code, stderr }) => assert.equal(code, 0, stderr))
  const m = await online(server, moderator)
  const another = await a.say('for the moderator')
  m.send({ type: 'delete', id: another.id })
  await a.until(x => x.id === another.id && x.deleted)
  await m.close()
})

test('a request may carry a ref, and its answer has it', async () => {
  assert.deepEqual((await a.ask({ type: 'ping' })).type, 'pong')
  a.send({ type: 'message', text: '', ref: 'r-7' })
  assert.equal((await a.next('error')).ref, 'r-7')
  a.send({ type: 'message', text: '', nonce: 'n-7' })
  assert.equal((await a.next('error')).nonce, 'n-7')
})

test('an empty ref is one too', async () => {
  const said = await a.say('with an empty ref', { nonce: 'empty-ref', ref: '' })
  assert.equal(said.ref, '')
  assert.ok(!('ref' in await b.until(f => f.id === said.id)))
  for (const [request, type] of [
    [{ type: 'ping' }, 'pong'], [{ type: 'message', text: '' }, 'error'], [{ type: 'message', text: 'again', nonce: 'empty-ref' }, 'message'], [{ type: 'history', room: 1, limit: 1 }, 'history'],
    [{ type: 'edit', id: said.id, text: 'edited' }, 'message'], [{ type: 'edit', id: said.id, text: '' }, 'error'], [{ type: 'nothing' }, 'error'],
  ]) {
    a.send({ ...request, ref: '' })
    assert.equal((await a.next(f => f.ref === '')).type, type, JSON.stringify(request))
  }
})

test('ping tells the position of the connection', async () => {
  const said = await a.say('position')
  await b.until(f => f.id === said.id)
  assert.equal((await b.ask({ type: 'ping' })).rev, said.rev)
  b.send({ type: 'ping' })
  const pong = await b.next('pong')
  assert.ok(!('ref' in pong))
})

test('everybody gets the same order from many talkers', async () => {
  const start = (await a.say('start')).rev
  const each = 40
  for (const [i, s] of [a, b, c].entries()) for (let n = 0; n < each; n++) s.send({ type: 'message', text: `talker ${i} says ${n}`, nonce: `t${i}-${n}` })
  const lists = await Promise.all([a, b, c].map(async s => {
    const list = []
    while (list.length < 3 * each) list.push(await s.until(f => f.type === 'message' && f.rev > start))
    return list.map(f => `${f.id} ${f.text}`)
  }))
  assert.deepEqual(lists[1], lists[0])
  assert.deepEqual(lists[2], lists[0])
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(lists[0].filter(t => t.includes(`talker ${i} `)).map(t => Number(t.split(' ').at(-1))), Array.from({ length: each }, (_, n) => n), 'each in its own order')
  }
})

test('rev is dense: what is refused takes none', async () => {
  const first = await a.say('one')
  await a.askRefused({ type: 'message', text: 'x', reply: 77777777 }, 'not_found')
  await b.askRefused({ type: 'edit', id: first.id, text: 'x' }, 'forbidden')
  await a.askRefused({ type: 'message', text: ' ' }, 'empty')
  const second = await a.say('two')
  assert.equal(second.rev, first.rev + 1)
  a.send({ type: 'edit', id: first.id, text: 'one, edited' })
  assert.equal((await a.until(f => f.id === first.id && f.edited)).rev, first.rev + 2)
  assert.equal((await call(server, 'GET', '/api/me', { token: alice.token })).rev, first.rev + 2)
})

test('a profile changed is a user frame to all, and a new user is too', async () => {
  await call(server, 'PATCH', '/api/me', { token: bob.token, json: { display_name: 'Robert' } }, 200)
  const f = await a.until(x => x.type === 'user' && x.user.username === 'bob' && x.user.display_name === 'Robert')
  assert.ok(!('warnings' in f.user) && !('blocked' in f.user))
  await register(server, 'dave')
  const d = await a.until(x => x.type === 'user' && x.user.username === 'dave')
  assert.equal(d.user.role, 'user')
})

test('the snapshot is one history for each room, then ready', async () => {
  const s = await ws(server, { token: alice.token })
  const frames = await s.untilReady()
  assert.deepEqual([...new Set(frames.map(f => f.type))], ['welcome', 'history', 'ready'])
  const [w] = frames
  const rooms = frames.filter(f => f.type === 'history').map(f => f.room)
  assert.deepEqual([...rooms].sort(), w.rooms.filter(r => r.joined).map(r => r.id).sort())
  const last = id => w.rooms.find(r => r.id === id).last
  assert.deepEqual(rooms.map(last), rooms.map(last).sort((x, y) => y - x), 'most recently active first')
  const lobby = frames.find(f => f.type === 'history' && f.room === 1)
  assert.equal(lobby.messages.length, 50)
  assert.equal(lobby.more, true)
  assert.equal(lobby.messages.at(-1).id, last(1))
  const idList = lobby.messages.map(m => m.id)
  assert.deepEqual(idList, [...idList].sort((x, y) => x - y))
  assert.ok(frames.at(-1).rev >= w.rev)
  await s.close()
})

test('of many rooms all are in welcome, and the 20 most active bring their history', async () => {
  const person = await register(server, 'collector')
  const s = await online(server, person)
  const made = []
  for (let i = 0; i < 24; i++) {
    const { room } = await call(server, 'POST', '/api/rooms', { token: person.token, json: { name: `Collection ${i}` } }, 201)
    made.push(room.id)
    await s.say(`in ${i}`, { room: room.id })
  }
  await s.say('and in the lobby')
  await s.close()
  const again = await online(server, person)
  assert.deepEqual(again.welcome.rooms.filter(r => r.joined).map(r => r.id).sort((x, y) => x - y), [1, ...made])
  const histories = again.log.filter(f => f.type === 'history').map(f => f.room)
  assert.deepEqual(histories, [1, ...made.slice(-19).reverse()])
  await again.close()
})
