// Promise: what the page holds (assets/store.js, without a browser) is what the server has, also where a page of history meets a change of it, and where a room was left
// and joined again while the line was down (PROTOCOL §1).

import assert from 'node:assert/strict'
import * as page from '../../assets/store.js'
import { call, online, register, ws } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer()
const [alice, bob] = await Promise.all(['alice', 'bob'].map(name => register(server, name)))

const FRAMES = { welcome: page.welcome, room: page.takeRoom, message: page.takeMessage, history: page.takeHistory, user: f => page.takeUser({ ...f.user, rev: f.rev }) }
const feed = f => { if (Object.hasOwn(FRAMES, f.type)) FRAMES[f.type](f) }

/** Bob's page, connected: it has had all frames until `ready`, and takes in what comes. */
async function connected(query = {}) {
  const s = await ws(server, { token: bob.token, ...query })
  for (const f of await s.untilReady()) feed(f)
  s.options.onFrame = feed
  return s
}

test('a page that was read before a deletion or an edit does not bring the old text back', async () => {
  const a = await online(server, alice), ids = []
  for (let i = 0; i < 300; i++) ids.push((await a.say(`secret ${i}`)).id)
  const b = await connected(), r = page.state.rooms.get(1)
  for (let k = 0; k < 8; k++) {
    const before = r.msgs[0].id, [gone, mended] = [ids.indexOf(before) - 10, ids.indexOf(before) - 20].map(i => ids[i])
    if (mended === undefined) break
    b.send({ type: 'history', room: 1, before, limit: 25, ref: `h${k}` })
    a.send({ type: 'delete', id: gone })
    a.send({ type: 'edit', id: mended, text: `mended ${mended}` })
    const { messages } = await b.heard(f => f.ref === `h${k}`)
    await b.heard(f => f.id === gone && f.deleted)
    await b.heard(f => f.id === mended && f.edited)
    assert.equal(r.byId.get(gone).text, '')
    assert.equal(r.byId.get(mended).text, `mended ${mended}`)
    // The server itself does not say what it has said otherwise already: whoever keeps no more than what is shown is right too.
    const at = f => b.log.findIndex(f)
    for (const [id, changed] of [[gone, f => f.deleted], [mended, f => f.edited]]) {
      const told = at(f => f.id === id && f.type === 'message' && changed(f)), shown = at(f => f.ref === `h${k}`)
      if (told < shown) assert.ok(changed(messages.find(m => m.id === id)), `${id} was sent as it had been`)
    }
  }
  await Promise.all([a.close(), b.close()])
}, { timeout: 30_000 })

test('who was away from a room while the line was down holds it whole again', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'priv', private: true, members: ['bob'] } }, 201)
  const a = await online(server, alice), b = await ws(server, { token: bob.token })
  let position = 0, over = false
  const hear = f => {
    if (over) return
    feed(f)
    if (['message', 'room', 'user', 'ready'].includes(f.type)) position = f.rev
    if (f.text === 'marker') { over = true; b.cut() }
  }
  for (const f of await b.untilReady()) hear(f)
  b.options.onFrame = hear
  await a.say('the first', { room: room.id })
  await b.heard(f => f.type === 'message' && f.room === room.id)
  b.pause() // what follows waits in the kernel and in the ring, and the one in the room is judged when bob is not in it any more
  const fill = 'x'.repeat(3900)
  for (let i = 0; i < 90; i++) await a.say(fill)
  await a.say('while he was away', { room: room.id })
  await a.say('marker')
  for (let i = 0; i < 90; i++) await a.say(fill)
  await call(server, 'DELETE', `/api/rooms/${room.id}/members/bob`, { token: alice.token }, 204)
  b.resume()
  await b.closed
  await call(server, 'POST', `/api/rooms/${room.id}/members`, { token: alice.token, json: { username: 'bob' } }, 204)
  const again = await connected({ since: position, epoch: b.log[0].epoch })
  assert.equal(again.log[0].resumed, true)
  const held = page.state.rooms.get(room.id)
  if (!held.loaded) {
    again.send({ type: 'history', room: room.id, limit: 50, ref: 'all' })
    await again.heard(f => f.ref === 'all')
  }
  assert.deepEqual(held.msgs.map(m => m.text), ['the first', 'while he was away'])
  await Promise.all([a.close(), again.close()])
}, { timeout: 30_000 })
