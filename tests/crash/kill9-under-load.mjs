// Promise: what was acknowledged survives `kill -9`: nothing is lost, doubled or reordered, and at durability full the
// epoch stays, so that everybody resumes (PROTOCOL §1). Clients post without pause while the server is killed several
// times at random moments and started again on the same data.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Follower, register, wholeRoom } from '../support/client.mjs'
import { binary, runProgram, startServer, temporary } from '../support/server.mjs'
import { random, sleep, test } from '../support/suite.mjs'

const PEOPLE = 6, KILLS = 6

test(`${KILLS} kills under load`, async () => {
  const server = await startServer()
  const people = []
  for (let i = 0; i < PEOPLE; i++) people.push(await register(server, `person${i}`))
  const clients = people.map(person => new Follower(server, person, { retry: 30 }).start())
  await Promise.all(clients.map(c => c.until('ready', x => x.live)))
  const { epoch } = clients[0]

  let posting = true
  const posted = new Map()
  const talking = Promise.all(clients.map(async (client, i) => {
    for (let n = 0; posting; n++) {
      const text = `person${i} says ${n}`
      posted.set(client.post(text), text)
      await sleep(random.below(4))
      while (client.outbox.size > 40 && posting) await sleep(5)
    }
  }))
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(150 + random.below(400))
    const before = clients.map(c => c.acks.length)
    await server.kill9()
    await server.restart()
    await Promise.all(clients.map((c, i) => c.until('to go on', x => x.live && x.acks.length > before[i], 20_000)))
  }
  posting = false
  await talking
  await Promise.all(clients.map(c => c.until('an empty outbox', x => x.outbox.size === 0)))
  const last = Math.max(...clients.flatMap(c => c.acks.map(a => a.id)))
  await Promise.all(clients.map(c => c.until('the end of the log', x => x.live && x.position >= last)))

  const truth = await wholeRoom(server, people[0].token)
  assert.equal(truth.length, posted.size, 'each message is there')
  assert.equal(new Set(truth.map(m => m.text)).size, posted.size, 'each once')
  assert.deepEqual(truth.map(m => m.id), truth.map(m => m.id).sort((a, b) => a - b))
  const stored = new Map(truth.map(m => [m.id, m.text]))
  for (const client of clients) {
    for (const { nonce, id } of client.acks) assert.equal(stored.get(id), posted.get(nonce), 'what was acknowledged is what is stored')
    assert.deepEqual(client.messages().map(m => `${m.id} ${m.text}`), truth.map(m => `${m.id} ${m.text}`))
    assert.equal(client.epoch, epoch, 'the epoch stays at durability full')
    // It was never told a message that is gone now: all that it holds is in the truth (compared above).
    await client.stop()
  }
  console.log(`# ${truth.length} messages, ${clients.reduce((n, c) => n + c.resumes, 0)} resumes`)
}, { timeout: 90_000 })

test('a kill during the very first start leaves a directory that starts', async () => {
  for (let ms = 1; ms <= 40; ms += 3) {
    const data = join(temporary(), 'data')
    await runProgram('timeout', ['-s', 'KILL', `${ms / 1000}`, binary, 'serve', '--listen', '127.0.0.1:0', '--data', data])
    const server = await startServer({ data })
    await register(server, 'alice')
    await server.stop()
  }
}, { timeout: 60_000 })
