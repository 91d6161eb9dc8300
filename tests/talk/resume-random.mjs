// Promise: 20 clients that each send 100 messages while their connections are cut at random all end with the same,
// complete, ordered list; each message is there once, and each sender's in the order in which it was acknowledged.
// In three steps: everybody connects to an empty room; everybody posts while connections are cut (some before `ready`,
// some in the middle of a frame); everybody waits for the end and the lists are compared. The seed is printed.

import assert from 'node:assert/strict'
import { Follower, register, wholeRoom } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { SLOW, random, sleep, test } from '../support/suite.mjs'

const PEOPLE = 20, EACH = 100, CUTS = 200

const server = await startServer()
const people = []
for (let i = 0; i < PEOPLE; i++) people.push(await register(server, `person${i}`))

test(`${PEOPLE} clients × ${EACH} messages, ${CUTS} cuts`, async () => {
  const clients = people.map(person => new Follower(server, person, { retry: 5 }).start())
  await Promise.all(clients.map(c => c.until('the first ready', x => x.readies > 0)))

  const posting = Promise.all(clients.map(async (client, i) => {
    for (let n = 0; n < EACH; n++) {
      client.post(`person${i} says ${n}`)
      if (n % 5 === 4) await sleep(random.below(40))
    }
  }))
  const cutting = (async () => {
    for (let n = 0; n < CUTS; n++) {
      random.pick(clients).cut()
      await sleep(random.below(8))
    }
  })()
  await Promise.all([posting, cutting])
  await Promise.all(clients.map(c => c.until('an empty outbox', x => x.outbox.size === 0, 60_000)))
  const last = Math.max(...clients.flatMap(c => c.acks.map(a => a.id)))
  await Promise.all(clients.map(c => c.until('the end of the log', x => x.live && x.position >= last, 60_000)))

  const truth = await wholeRoom(server, people[0].token)
  const line = m => `${m.id} ${m.rev} ${m.sender}: ${m.text}`
  assert.equal(truth.length, PEOPLE * EACH)
  assert.equal(new Set(truth.map(m => m.text)).size, PEOPLE * EACH, 'nothing is doubled')
  for (const client of clients) {
    assert.deepEqual(client.messages().map(line), truth.map(line), `${client.person.username} holds something else`)
    for (const { nonce, id } of client.acks) assert.equal(truth.find(m => m.id === id).nonce ?? nonce, nonce)
    assert.equal(new Set(client.acks.map(a => a.id)).size, EACH)
  }
  const cuts = clients.reduce((sum, c) => sum + c.connects - 1, 0)
  const resumes = clients.reduce((sum, c) => sum + c.resumes, 0)
  console.log(`# ${cuts} reconnects, ${resumes} of them resumed`)
  assert.ok(cuts > CUTS / (SLOW > 4 ? 10 : 4))
  await Promise.all(clients.map(c => c.stop()))
}, { timeout: 100_000 })
