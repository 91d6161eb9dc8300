// Promise: everybody sees who is online, gathered once a second; somebody is offline 10 s after the last socket has
// gone, not after one of two; typing is shown to the others in the room, at most every 3 s (PROTOCOL §3.1, §3.2).

import assert from 'node:assert/strict'
import { call, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { sleep, test } from '../support/suite.mjs'

const server = await startServer()
const people = await Promise.all(['alice', 'bob', 'carol', 'dora', 'emil'].map(name => register(server, name)))
const [alice, bob, carol, dora, emil] = people
const a = await online(server, alice)
const presence = (kind, name) => f => f.type === 'presence' && (f[kind] ?? []).includes(name)
// Several of these tests wait side by side on one socket: they look at all that came and take nothing away.
const anyPresence = (s, name) => s.log.filter(f => f.type === 'presence' && [...(f.online ?? []), ...(f.offline ?? [])].includes(name))

test('ready lists who is online, and who comes is told', async () => {
  const b = await online(server, bob)
  assert.deepEqual([...b.log.find(f => f.type === 'ready').online].sort(), ['alice', 'bob'])
  await a.heard(presence('online', 'bob'))
  const users = (await call(server, 'GET', '/api/users?online=1', { token: alice.token }, 200)).users.map(u => u.username)
  assert.deepEqual(users.sort(), ['alice', 'bob'])
  await b.close()
})

test('offline comes ten seconds after the last socket has gone, not before', async () => {
  const one = await online(server, carol), two = await online(server, carol)
  await a.heard(presence('online', 'carol'))
  await one.close()
  await sleep(2000)
  assert.equal(anyPresence(a, 'carol').length, 1, 'a second tab keeps her online')
  const gone = Date.now()
  await two.close()
  await a.heard(presence('offline', 'carol'), 16_000)
  const after = Date.now() - gone
  assert.ok(after >= 9_500, `offline after ${after} ms`)
}, { together: true, timeout: 30_000 })

test('who is blocked or deleted is offline at once', async () => {
  for (const [command, code] of [['block', 4002], ['delete', 4001]]) {
    const name = `soon-${command}ed`, s = await online(server, await register(server, name))
    await a.heard(presence('online', name))
    assert.equal((await server.cli(['user', command, name])).code, 0)
    await s.expectClose(code)
    const b = await online(server, bob)
    assert.ok(!b.log.find(f => f.type === 'ready').online.includes(name))
    await a.heard(presence('offline', name), 3000)
    await b.close()
  }
})

test('a reload within ten seconds is not seen by anybody', async () => {
  const first = await online(server, dora)
  await a.heard(presence('online', 'dora'))
  first.cut()
  await sleep(3000)
  const second = await online(server, dora)
  await sleep(9500)
  assert.equal(anyPresence(a, 'dora').length, 1)
  await second.close()
}, { together: true, timeout: 30_000 })

test('presence comes at most once a second', async () => {
  const times = []
  const watcher = await online(server, emil, { onFrame: f => { if (f.type === 'presence') times.push(Date.now()) } })
  for (let i = 0; i < 12; i++) {
    const s = await online(server, await register(server, `guest${i}`))
    s.cut()
    await sleep(150)
  }
  await sleep(1200)
  assert.ok(times.length >= 1)
  for (let i = 1; i < times.length; i++) assert.ok(times[i] - times[i - 1] > 850, `${times[i] - times[i - 1]} ms between two`)
  await watcher.close()
}, { together: true, timeout: 30_000 })

test('typing reaches the others in the room, not the typist, not other rooms', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Desk', members: ['bob'] } }, 201)
  const b = await online(server, bob), c = await online(server, carol), mine = await online(server, alice)
  mine.send({ type: 'typing', room: room.id })
  const f = await b.next('typing')
  assert.deepEqual({ ...f }, { type: 'typing', room: room.id, user: 'alice' })
  const last = await mine.say('done', { room: room.id })
  await c.reaches(last.rev)
  await mine.reaches(last.rev)
  assert.deepEqual(c.waiting('typing'), [])
  assert.deepEqual(mine.waiting('typing'), [])
  // At most one every three seconds for each user and room; it is not stored for those who come later.
  for (let i = 0; i < 5; i++) mine.send({ type: 'typing', room: room.id })
  await mine.reaches(last.rev)
  await b.reaches(last.rev)
  assert.ok(b.log.filter(x => x.type === 'typing').length <= 1 + 1)
  const late = await online(server, bob)
  assert.deepEqual(late.log.filter(x => x.type === 'typing'), [])
  await c.askRefused({ type: 'typing', room: room.id, ref: 't' }, 'not_member').catch(() => { /* a hint may be dropped without a word */ })
  await late.reaches(last.rev)
  assert.ok(!late.log.some(x => x.type === 'typing' && x.user === 'carol'))
  for (const s of [b, c, mine, late]) await s.close()
}, { together: true, timeout: 20_000 })
