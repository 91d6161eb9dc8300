// Promise: who comes back with `since` and `epoch` gets every change it missed, each thing once and in its present
// state, in strictly rising rev; who asks for what cannot be resumed gets a snapshot (PROTOCOL §1, §3.1). What is missed
// may still be in the ring in memory, or only in the store: most tests run in both ways, for the second the server is
// started again before anybody comes back.

import assert from 'node:assert/strict'
import { Follower, call, online, register, ws } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map(name => register(server, name)))
let a = await online(server, alice)
const { epoch } = a.welcome
const post = (path, json, by = alice) => call(server, 'POST', path, { token: by.token, json })
const remove = (room, who, by = alice) => call(server, 'DELETE', `/api/rooms/${room}/members/${who.username}`, { token: by.token }, 204)
const logOf = frames => frames.filter(f => ['message', 'room', 'user'].includes(f.type))

/** Where what was missed is to be found: 'ring', or 'store' when the server was started again meanwhile. */
let where = 'ring'

/** The same test in both ways. */
function both(name, fn) {
  for (const place of ['ring', 'store']) test(`${name} (${place})`, () => { where = place; return fn() })
}

/** Comes back as `person`, and gives the frames up to ready. */
async function back(person, since, more = {}) {
  if (where === 'store') {
    await server.restart()
    a = await online(server, alice)
  }
  const s = await ws(server, { token: person.token, since, epoch, ...more })
  const frames = await s.untilReady()
  await s.close()
  return frames
}

both('nothing missed: welcome and ready alone', async () => {
  const said = await a.say('now')
  const frames = await back(bob, said.rev)
  assert.deepEqual(frames.map(f => f.type), ['welcome', 'ready'])
  assert.equal(frames[0].resumed, true)
  assert.equal(frames[0].rev, said.rev)
  assert.equal(frames[1].rev, said.rev)
})

both('what was missed comes in order, each once', async () => {
  const start = await a.say('start')
  const said = []
  for (let i = 0; i < 120; i++) said.push(await a.say(`missed ${i}`))
  const frames = await back(bob, start.rev)
  assert.equal(frames[0].resumed, true)
  assert.deepEqual(logOf(frames).map(f => f.id), said.map(f => f.id))
  assert.ok(!frames.some(f => f.type === 'history'))
  const half = await back(bob, said[59].rev)
  assert.deepEqual(logOf(half).map(f => f.text), said.slice(60).map(f => f.text))
})

both('a thing that changed often comes once, as it is now', async () => {
  const old = await a.say('will be edited')
  const dying = await a.say('will be deleted')
  const start = await a.say('start')
  const fresh = await a.say('edited while new')
  for (const text of ['one', 'two', 'three']) {
    a.send({ type: 'edit', id: old.id, text })
    await a.until(f => f.id === old.id && f.text === text)
  }
  a.send({ type: 'edit', id: fresh.id, text: 'new and edited' })
  const edit = await a.until(f => f.id === fresh.id && f.edited)
  a.send({ type: 'delete', id: dying.id })
  const dead = await a.until(f => f.id === dying.id && f.deleted)
  for (const display_name of ['A', 'B', 'Alicia']) await call(server, 'PATCH', '/api/me', { token: alice.token, json: { display_name } }, 200)
  const log = logOf(await back(bob, start.rev))
  assert.deepEqual(log.filter(f => f.type === 'message').map(f => [f.id, f.text]), [[old.id, 'three'], [fresh.id, 'new and edited'], [dead.id, '']])
  assert.equal(log.find(f => f.id === fresh.id).rev, edit.rev)
  assert.ok(log.find(f => f.id === dying.id).deleted)
  const users = log.filter(f => f.type === 'user')
  assert.deepEqual(users.map(f => f.user.display_name), ['Alicia'])
  const revs = log.map(f => f.rev)
  assert.deepEqual(revs, [...new Set(revs)].sort((x, y) => x - y))
})

both('since=0 with the right epoch begins at the beginning', async () => {
  const frames = await back(bob, 0)
  assert.equal(frames[0].resumed, true)
  const log = logOf(frames)
  assert.ok(log.some(f => f.type === 'message' && f.text === 'now'))
  assert.ok(log.some(f => f.type === 'user' && f.user.username === 'alice'))
  const { user: { rev } } = await call(server, 'GET', '/api/me', { token: bob.token })
  assert.ok(rev > 0)
})

for (const [what, options] of [
  ['without an epoch', { epoch: undefined, since: 5 }], ['with another epoch', { epoch: '00000000-0000-4000-8000-000000000000', since: 5 }],
  ['with a since beyond the present', { since: 10_000_000 }], ['with an epoch and no since', { since: undefined }],
]) {
  both(`${what} there is no resume but a snapshot`, async () => {
    const frames = await back(bob, options.since, options)
    assert.equal(frames[0].resumed, false)
    assert.ok(frames.some(f => f.type === 'history' && f.room === 1))
  })
}

both('if more than max messages wait there is a snapshot', async () => {
  const start = await a.say('start')
  for (let i = 0; i < 20; i++) await a.say(`m${i}`)
  assert.equal((await back(bob, start.rev, { max: 20 }))[0].resumed, true)
  assert.equal((await back(bob, start.rev, { max: 19 }))[0].resumed, false)
  assert.equal((await back(bob, start.rev, { max: 1000 }))[0].resumed, true)
})

both('rooms joined and left meanwhile: welcome holds the present, and what was left does not come', async () => {
  const { room: kept } = await post('/api/rooms', { name: `Kept in the ${where}`, private: true, members: ['carol'] })
  const { room: lost } = await post('/api/rooms', { name: `Lost in the ${where}`, private: true, members: ['carol'] })
  const start = await a.say('carol goes away')
  const inKept = await a.say('in kept', { room: kept.id })
  await a.say('in lost, before', { room: lost.id })
  await remove(lost.id, carol)
  await a.say('in lost, after', { room: lost.id })
  const { room: joined } = await post('/api/rooms', { name: `Joined in the ${where}`, private: true, members: ['carol'] })
  const inJoined = await a.say('in joined', { room: joined.id })
  const frames = await back(carol, start.rev)
  assert.equal(frames[0].resumed, true)
  const ids = frames[0].rooms.filter(r => r.joined).map(r => r.id)
  assert.ok(ids.includes(1) && ids.includes(kept.id) && ids.includes(joined.id) && !ids.includes(lost.id), `${ids}`)
  const log = logOf(frames)
  assert.ok(!frames.some(f => /in lost/.test(f.wire.text)), 'visibility is judged when a frame is sent')
  assert.ok(log.some(f => f.id === inKept.id) && log.some(f => f.id === inJoined.id))
  const left = log.find(f => f.type === 'room' && f.room.id === lost.id)
  if (left) assert.equal(left.left, true)
})

both('a room left and joined again meanwhile is simply there', async () => {
  const { room } = await post('/api/rooms', { name: `Revolving in the ${where}`, members: ['carol'] })
  const start = await a.say('start', { room: room.id })
  await remove(room.id, carol)
  const missed = await a.say('while away', { room: room.id })
  await post(`/api/rooms/${room.id}/members`, { username: 'carol' })
  const frames = await back(carol, start.rev)
  assert.ok(frames[0].rooms.some(r => r.id === room.id && r.joined))
  assert.ok(!frames.some(f => f.left))
  assert.ok(logOf(frames).some(f => f.id === missed.id))
})

both('other people’s joins and leaves are not told', async () => {
  const { room } = await post('/api/rooms', { name: `Others in the ${where}`, private: true, members: ['carol'] })
  const { room: open } = await post('/api/rooms', { name: `Open in the ${where}`, members: ['bob'] })
  const start = await a.say('start')
  await register(server, `newcomer-${where}`)
  await remove(room.id, carol)
  await post(`/api/rooms/${room.id}/members`, { username: 'carol' })
  await post(`/api/rooms/${open.id}/members`, { username: 'carol' }, carol)
  await remove(open.id, carol, carol)
  const log = logOf(await back(bob, start.rev))
  assert.ok(log.some(f => f.type === 'user' && f.user.username === `newcomer-${where}`))
  assert.deepEqual(log.filter(f => f.type === 'room'), [])
})

both('a reader in a quiet room moves on over what it may not see', async () => {
  const { room } = await post('/api/rooms', { name: `Busy in the ${where}`, private: true })
  let last
  for (let i = 0; i < 50; i++) last = await a.say(`busy ${i}`, { room: room.id })
  const frames = await back(bob, last.rev - 50)
  assert.deepEqual(logOf(frames).filter(f => f.type === 'message'), [])
  assert.equal(frames.at(-1).rev, last.rev)
})

test('messages sent while somebody catches up are neither missed nor doubled', async () => {
  where = 'ring'
  const start = await a.say('start')
  let sent = 0
  for (let i = 0; i < 300; i++) a.send({ type: 'message', text: `early ${i}`, nonce: `e${sent++}` })
  await a.until(f => f.nonce === 'e299')
  const s = await ws(server, { token: bob.token, since: start.rev, epoch })
  for (let i = 0; i < 300; i++) a.send({ type: 'message', text: `late ${i}`, nonce: `e${sent++}` })
  const end = await a.until(f => f.nonce === 'e599')
  await s.until(f => f.id === end.id)
  const got = s.log.filter(f => f.type === 'message').map(f => Number(f.nonce.slice(1)))
  assert.deepEqual(got, Array.from({ length: 600 }, (_, i) => i))
  await s.close()
})

test('in a snapshot too: history and log together are whole', async () => {
  for (let round = 0; round < 5; round++) {
    const from = (await a.say(`round ${round}`)).id
    for (let i = 0; i < 30; i++) a.send({ type: 'message', text: `s${i}`, nonce: `s${round}-${i}` })
    const s = await ws(server, { token: bob.token })
    for (let i = 30; i < 60; i++) a.send({ type: 'message', text: `s${i}`, nonce: `s${round}-${i}` })
    const end = await a.until(f => f.nonce === `s${round}-59`)
    await s.until(f => f.type === 'ready')
    await s.reaches(end.rev)
    const [w] = s.log
    const snapshot = s.log.filter(f => f.type === 'history').flatMap(f => f.messages)
    for (const m of snapshot) assert.ok(m.rev <= w.rev && m.id <= w.rev, 'history is as of welcome.rev')
    for (const f of s.log.filter(x => x.type === 'message')) assert.ok(f.rev > w.rev, 'the log goes on from there')
    const ids = [...snapshot, ...s.log.filter(f => f.type === 'message')].filter(m => m.room === 1 && m.id > from).map(m => m.text)
    const tail = Array.from({ length: 60 }, (_, i) => `s${i}`)
    assert.deepEqual(ids.slice(-tail.length), tail.slice(-ids.length))
    assert.ok(ids.length >= 30)
    await s.close()
  }
})

test('what is asked for by a ref while the replay runs is answered with it', async () => {
  const b = await online(server, bob), mine = await b.say('mine'), since = b.position
  await b.close()
  for (let i = 0; i < 3000; i++) a.send({ type: 'message', text: `${'y'.repeat(200)}${i}` })
  await a.say('the last')
  await call(server, 'PATCH', '/api/me', { token: alice.token, json: { status: 'here' } }, 200)
  const again = await ws(server, { token: bob.token, since, epoch })
  await again.heard(f => f.type === 'welcome')
  again.send({ type: 'edit', id: mine.id, text: 'mended', ref: 'E' })
  again.send({ type: 'message', text: 'new', nonce: 'N', ref: 'M' })
  const [edited, posted] = await Promise.all([again.heard(f => f.ref === 'E'), again.heard(f => f.ref === 'M')])
  assert.deepEqual([edited.id, edited.text, posted.nonce], [mine.id, 'mended', 'N'])
  await again.heard(f => f.type === 'ready')
  for (const [what, one] of [['edit', f => f.id === mine.id], ['message', f => f.nonce === 'N']]) assert.equal(again.log.filter(f => f.type === 'message' && one(f)).length, 1, `the ${what} comes once`)
  await again.close()
}, { timeout: 30_000 })

test('a message changed after the snapshot point comes as a log frame, not in the history', async () => {
  const said = await a.say('to be changed')
  const s = await ws(server, { token: bob.token })
  a.send({ type: 'edit', id: said.id, text: 'changed at once' })
  const edit = await a.until(f => f.id === said.id && f.edited)
  await s.until(f => f.type === 'ready')
  await s.reaches(edit.rev)
  const w = s.log[0]
  const inHistory = s.log.filter(f => f.type === 'history').flatMap(f => f.messages).find(m => m.id === said.id)
  const inLog = s.log.filter(f => f.type === 'message' && f.id === said.id)
  if (edit.rev <= w.rev) assert.equal(inHistory.text, 'changed at once')
  else assert.deepEqual(inLog.map(f => f.text), ['changed at once'])
  await s.close()
})

test('a resume over a restart of the server', async () => {
  const start = await a.say('before the restart')
  const missed = await a.say('missed over the restart')
  await server.restart()
  const frames = await back(bob, start.rev)
  assert.equal(frames[0].resumed, true)
  assert.equal(frames[0].epoch, epoch)
  assert.deepEqual(logOf(frames).map(f => f.id), [missed.id])
})

test('the model client holds the same after cuts as one that was never cut', async () => {
  const steady = new Follower(server, alice).start()
  await steady.until('ready', f => f.live)
  const cut = new Follower(server, bob).start()
  await cut.until('ready', f => f.live)
  for (let i = 0; i < 30; i++) {
    steady.post(`steady ${i}`)
    cut.post(`cut ${i}`)
    if (i % 7 === 3) cut.cut()
    await new Promise(done => setTimeout(done, 5))
  }
  await Promise.all([steady, cut].map(f => f.until('an empty outbox', x => x.outbox.size === 0)))
  const last = Math.max(...[steady, cut].flatMap(f => f.acks.map(x => x.id)))
  await Promise.all([steady, cut].map(f => f.until('the last message', x => x.position >= last && x.live)))
  const tail = f => f.messages().filter(m => /^(steady|cut) /.test(m.text)).map(m => `${m.id} ${m.rev} ${m.text}`)
  assert.equal(tail(steady).length, 60)
  assert.deepEqual(tail(cut), tail(steady))
  assert.ok(cut.resumes > 0)
  await steady.stop()
  await cut.stop()
})
