// Promise: at durability normal an acknowledged message survives `kill -9` as well, but the first start after an
// unclean stop has a new epoch, since a power cut could have taken the last moments; after a clean stop it keeps it
// (PROTOCOL §1, §5).

import assert from 'node:assert/strict'
import { call, online, register, wholeRoom } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer({ args: ['--durability', 'normal'] })
const alice = await register(server, 'alice')
const epochNow = async () => (await call(server, 'GET', '/api/me', { token: alice.token }, 200)).epoch

test('a clean stop keeps the epoch', async () => {
  const before = await epochNow()
  await server.restart()
  assert.equal(await epochNow(), before)
})

test('kill -9 loses nothing that was acknowledged, and the epoch is another', async () => {
  const before = await epochNow()
  const a = await online(server, alice)
  for (let i = 0; i < 300; i++) a.send({ type: 'message', text: `m${i}`, nonce: `n${i}` })
  const last = await a.until(f => f.nonce === 'n299')
  await server.kill9()
  await server.restart()
  const after = await epochNow()
  assert.notEqual(after, before)
  assert.deepEqual((await wholeRoom(server, alice.token)).map(m => m.text), Array.from({ length: 300 }, (_, i) => `m${i}`))
  const back = await online(server, alice, { since: last.rev, epoch: before })
  assert.equal(back.welcome.resumed, false)
  await back.close()
  await server.restart()
  assert.equal(await epochNow(), after, 'and it is kept from then on')
})

test('at durability full the epoch stays', async () => {
  const full = await startServer()
  const bob = await register(full, 'bob')
  const b = await online(full, bob)
  const said = await b.say('kept')
  await full.kill9()
  await full.restart()
  const back = await online(full, bob, { since: said.rev, epoch: b.welcome.epoch })
  assert.equal(back.welcome.resumed, true)
  await back.close()
  await full.stop()
})
