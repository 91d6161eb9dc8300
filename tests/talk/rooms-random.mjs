// Promise: whatever happens in rooms (made, joined, left, renamed; written, edited, deleted in) and however often the
// connections are cut meanwhile, every client ends with what is true now: its rooms, and in each room every message from
// where its history begins, in its present state; and never sees anything of a room that it is not in.
// In three steps: some people act at random over HTTP and their sockets while being cut, and the server is killed now
// and then, so that resumes come from the ring and from the store; everybody comes to rest; what
// each model client holds is compared with what the server tells over HTTP. The seed is printed.

import assert from 'node:assert/strict'
import { Follower, call, http, online, register, wholeRoom } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { random, sleep, test } from '../support/suite.mjs'

const PEOPLE = 7, ROOMS = 6, STEPS = 2500

const server = await startServer()
const people = []
for (let i = 0; i < PEOPLE; i++) people.push(await register(server, `person${i}`))
const outsider = await register(server, 'outsider')

test(`${STEPS} random acts of ${PEOPLE} people in ${ROOMS} rooms`, async () => {
  const rooms = [1]
  for (let i = 0; i < ROOMS; i++) {
    const { room } = await call(server, 'POST', '/api/rooms', { token: people[i % PEOPLE].token, json: { name: `Room ${i}`, private: i % 2 === 1 } }, 201)
    rooms.push(room.id)
  }
  const watchers = [await online(server, outsider)]
  const clients = people.map(person => new Follower(server, person, { retry: 5 }).start())
  await Promise.all(clients.map(c => c.until('ready', x => x.live)))

  /** One act; most may fail (not a member, not the author): only what the server says then must be an answer. */
  async function act() {
    const client = random.pick(clients), room = random.pick(rooms), other = random.pick(people)
    const api = (method, path, json) => http(server, method, path, { token: client.person.token, ...(json ? { json } : {}) })
    const held = client.messages(room).filter(m => !m.deleted)
    switch (random.below(12)) {
      case 0: return api('POST', `/api/rooms/${room}/members`, { username: client.person.username })
      case 1: return api('POST', `/api/rooms/${room}/members`, { username: other.username })
      case 2: return room === 1 ? null : api('DELETE', `/api/rooms/${room}/members/${random.below(3) ? client.person.username : other.username}`)
      case 3: return room === 1 ? null : api('PATCH', `/api/rooms/${room}`, { topic: `topic ${random.below(1e6)}` })
      case 4: return held.length && client.live && client.socket.send({ type: 'edit', id: random.pick(held).id, text: `edited ${random.below(1e6)}` })
      case 5: return held.length && client.live && random.below(3) === 0 && client.socket.send({ type: 'delete', id: random.pick(held).id })
      case 6: return client.cut()
      case 7: return api('PATCH', '/api/me', { status: `status ${random.below(1e6)}` })
      default: return client.rooms.has(room) && client.live && client.socket.send({ type: 'message', room, text: `secret of ${room}: ${random.below(1e9)}`, nonce: String(random.next()) })
    }
  }
  for (let i = 0; i < STEPS; i++) {
    if (i % 500 === 499) {
      await server.kill9()
      await server.restart()
      watchers.push(await online(server, outsider, { since: random.below(watchers.at(-1).position), epoch: watchers[0].welcome.epoch }))
      await Promise.all(clients.map(c => c.until('to be back', x => x.live)))
    }
    await act()
    if (i % 10 === 0) await sleep(random.below(5))
  }

  // To rest: a last message in the lobby is the end of the log for everybody.
  const { rev } = await watchers.at(-1).say('the end')
  await Promise.all(clients.map(c => c.until('the end of the log', x => x.live && x.position >= rev && ![...x.rooms.values()].some(r => r.floor === Infinity))))

  for (const client of clients) {
    const { token, username } = client.person
    const mine = (await call(server, 'GET', '/api/rooms', { token }, 200)).rooms.filter(r => r.joined)
    assert.deepEqual([...client.rooms.keys()].sort(), mine.map(r => r.id).sort(), `${username} is in other rooms than it believes`)
    for (const room of mine) {
      const held = client.rooms.get(room.id)
      assert.equal(held.room.topic, room.topic, `${username} holds another topic of room ${room.id}`)
      const truth = await wholeRoom(server, token, room.id)
      const line = m => `${m.id} ${m.rev} ${m.sender} ${m.deleted ? 'deleted' : m.text}`
      assert.deepEqual(client.messages(room.id).filter(m => m.id >= held.floor).map(line), truth.filter(m => m.id >= held.floor).map(line), `${username}, room ${room.id}, from ${held.floor}`)
      const byId = new Map(truth.map(m => [m.id, line(m)]))
      for (const m of client.messages(room.id)) assert.equal(line(m), byId.get(m.id), `${username} holds an old state`)
    }
  }
  assert.ok(clients.some(c => c.resumes > 0))

  const watched = watchers.flatMap(w => w.log)
  const hidden = watched.filter(f => /secret of (\d+)/.test(f.wire.text) && f.room !== 1)
  assert.deepEqual(hidden, [], 'the outsider saw something')
  const privates = new Set(rooms.filter((_, i) => i > 0 && i % 2 === 0))
  for (const f of watched.filter(x => x.type === 'room')) assert.ok(!privates.has(f.room.id), `the outsider heard of a private room: ${f.wire.text}`)
  console.log(`# ${clients.reduce((n, c) => n + c.connects, 0)} connections, ${clients.reduce((n, c) => n + c.resumes, 0)} resumes, rev ${rev}`)
  await Promise.all(clients.map(c => c.stop()))
}, { timeout: 60_000 })
