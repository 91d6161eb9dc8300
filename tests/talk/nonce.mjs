// Promise: a nonce names one message of its sender for as long as the message's row exists: sent again it makes no
// second one, and the stored one is answered to that connection alone, with repeat:true (PROTOCOL §1).

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, online, register, wholeRoom } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { eventually, test } from '../support/suite.mjs'

const words = join(temporary(), 'words')
writeFileSync(words, 'turnip\n')
const server = await startServer({ args: ['--stop-words', words, '--warnings', '1'] })
const alice = await register(server, 'alice'), bob = await register(server, 'bob')
let a = await online(server, alice), second = await online(server, alice), b = await online(server, bob)

/** Sends the nonce again and gives the answer, which must be a repeat. */
async function again(socket, nonce, more = {}) {
  socket.send({ type: 'message', text: 'whatever it says now', nonce, ...more })
  const f = await socket.until(m => m.nonce === nonce)
  assert.equal(f.type, 'message', JSON.stringify(f))
  assert.equal(f.repeat, true)
  return f
}

test('sent again, the stored message comes back to that connection alone', async () => {
  const said = await a.say('once', { nonce: 'one' })
  await Promise.all([second, b].map(s => s.until(f => f.id === said.id)))
  const repeat = await again(a, 'one')
  assert.equal(repeat.id, said.id)
  assert.equal(repeat.text, 'once')
  assert.equal(repeat.sender, 'alice')
  const last = await b.say('the next one')
  for (const s of [a, second, b]) {
    await s.reaches(last.rev)
    assert.deepEqual(s.waiting('message').filter(f => f.id === said.id || f.repeat), [])
  }
  assert.equal((await wholeRoom(server, alice.token)).filter(m => m.text === 'once').length, 1)
})

test('another socket of the sender gets its own repeat', async () => {
  const repeat = await again(second, 'one')
  assert.equal(repeat.text, 'once')
})

test('a nonce belongs to its sender: another may use the same', async () => {
  const mine = await b.say('also one', { nonce: 'one' })
  assert.ok(!mine.repeat)
  assert.equal(mine.text, 'also one')
})

test('a repeat does not move the position', async () => {
  const said = await a.say('position', { nonce: 'pos' })
  const before = (await a.reaches(said.rev)).rev
  await again(a, 'pos')
  assert.ok((await a.ask({ type: 'ping' })).rev >= before)
  const resumed = await online(server, alice, { since: said.rev, epoch: a.welcome.epoch })
  assert.equal(resumed.welcome.resumed, true)
  await resumed.close()
})

test('the same nonce twice in one write makes one message', async () => {
  a.send({ type: 'message', text: 'twin', nonce: 'twin' })
  a.send({ type: 'message', text: 'twin', nonce: 'twin' })
  const one = await a.until(f => f.nonce === 'twin'), two = await a.until(f => f.nonce === 'twin')
  assert.equal(one.id, two.id)
  assert.deepEqual([one, two].map(f => Boolean(f.repeat)).sort(), [false, true])
})

test('the same nonce on two sockets at once makes one message', async () => {
  for (const s of [a, second]) s.send({ type: 'message', text: 'race', nonce: 'race' })
  const last = await b.say('after the race')
  const ids = new Set()
  for (const s of [a, second]) {
    await s.reaches(last.rev)
    const frames = s.log.filter(f => f.nonce === 'race')
    assert.equal(frames.filter(f => !f.repeat).length, 1, 'each socket gets the broadcast once')
    frames.forEach(f => ids.add(f.id))
  }
  assert.equal(ids.size, 1)
})

test('after an edit the repeat is the present state', async () => {
  const said = await a.say('first version', { nonce: 'edited' })
  a.send({ type: 'edit', id: said.id, text: 'second version' })
  const edit = await a.until(f => f.id === said.id && f.edited)
  const repeat = await again(a, 'edited')
  assert.equal(repeat.text, 'second version')
  assert.equal(repeat.rev, edit.rev)
})

test('after a deletion the tombstone answers', async () => {
  const said = await a.say('gone soon', { nonce: 'gone' })
  a.send({ type: 'delete', id: said.id })
  await a.until(f => f.id === said.id && f.deleted)
  const repeat = await again(a, 'gone')
  assert.equal(repeat.id, said.id)
  assert.equal(repeat.text, '')
  assert.ok(repeat.deleted)
})

test('a nonce is up to 64 bytes', async () => {
  await a.say('long nonce', { nonce: 'ü'.repeat(32) })
  assert.equal((await again(a, 'ü'.repeat(32))).text, 'long nonce')
})

test('a large outbox sent again is answered whole, however slowly it is read', async () => {
  // After a lost connection a client sends again what it has no answer for; here all of it had been stored.
  const text = n => `${n} ${'🐘'.repeat(3990)}`, all = Array.from({ length: 60 }, (_, n) => n)
  for (const n of all) a.send({ type: 'message', text: text(n), nonce: `box${n}` })
  await a.until(f => f.nonce === 'box59', 10_000)
  const again = await online(server, alice)
  again.pause()
  for (const n of all) again.send({ type: 'message', text: text(n), nonce: `box${n}` })
  setTimeout(() => again.resume(), 300)
  for (const n of all) {
    const f = await again.until(m => m.nonce === `box${n}`)
    assert.equal(f.repeat, true)
    assert.equal(f.text, text(n))
  }
  await again.close()
  a.clear()
})

test('after a restart it still holds', async () => {
  const said = await a.say('before the restart', { nonce: 'restart' })
  await server.restart()
  ;[a, b] = await Promise.all([alice, bob].map(p => online(server, p)))
  const repeat = await again(a, 'restart')
  assert.equal(repeat.id, said.id)
  assert.equal(repeat.text, 'before the restart')
  assert.equal((await again(a, 'gone')).text, '')
  assert.equal((await wholeRoom(server, alice.token)).filter(m => m.text === 'before the restart').length, 1)
})

test('whatever speaks against it now, the stored message is the answer', async () => {
  const said = await a.say('parsnip soup', { nonce: 'soup' })
  const { room } = await call(server, 'POST', '/api/rooms', { token: bob.token, json: { name: 'Not Hers' } }, 201)
  for (const more of [{ text: '' }, { text: 'x'.repeat(4001) }, { text: 'a\u0000' }, { room: 999 }, { room: room.id }, { reply: 999_999 }, { text: 'turnip' }]) {
    const repeat = await again(a, 'soup', more)
    assert.equal(repeat.id, said.id, JSON.stringify(more))
    assert.equal(repeat.text, 'parsnip soup')
  }
  a.send({ type: 'message', text: '', nonce: 'never stored', ref: 'r' })
  const f = await a.until(m => m.nonce === 'never stored')
  assert.deepEqual([f.type, f.code, f.ref], ['error', 'empty', 'r'])
})

test('a stored message whose word became a stop word since brings no warning', async () => {
  // Its acknowledgement was lost with the connection, and the outbox sends it again. Here one warning blocks.
  const said = await a.say('parsnip salad', { nonce: 'salad' })
  writeFileSync(words, 'parsnip\n')
  process.kill(server.pid, 'SIGHUP')
  await eventually('a line about it', () => server.lines.some(line => /stop words read again/.test(line)))
  assert.equal((await again(a, 'salad', { text: 'parsnip salad' })).id, said.id)
  assert.equal((await call(server, 'GET', '/api/me', { token: alice.token })).user.warnings, 0)
  const carol = await register(server, 'carol'), c = await online(server, carol)
  c.send({ type: 'message', text: 'parsnip salad', nonce: 'salad' })
  assert.equal((await c.until(f => f.nonce === 'salad')).type, 'warning')
  await c.expectClose(4002)
})

test('in a room that was left meanwhile nothing is made and nothing is told', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: bob.token, json: { name: 'Short Stay', private: true, members: ['alice'] } }, 201)
  await a.until(f => f.type === 'room' && f.room.id === room.id)
  await a.say('was here', { room: room.id, nonce: 'left' })
  b.send({ type: 'message', text: 'told to the room', room: room.id, nonce: 'later' })
  await call(server, 'DELETE', `/api/rooms/${room.id}/members/alice`, { token: bob.token }, 204)
  await a.until(f => f.type === 'room' && f.left)
  a.send({ type: 'message', text: 'x', room: room.id, nonce: 'fresh' })
  assert.equal((await a.until(f => f.nonce === 'fresh')).type, 'error')
  a.send({ type: 'message', text: 'was here', room: room.id, nonce: 'left' })
  assert.equal((await a.until(f => f.nonce === 'left')).code, 'not_found')
  a.frames.length = 0
  a.send({ type: 'message', text: 'was here', nonce: 'left' }) // in the lobby: the nonce is taken all the same
  assert.equal((await a.until(f => f.nonce === 'left')).code, 'not_found')
})
