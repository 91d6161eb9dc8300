// Promise: when the disk is full a message is answered with storage_full or unavailable and not broadcast, reading goes
// on, the server lives, and once there is room again it stores; the same nonce settles what was not known to be stored
// (PROTOCOL §3.3). The small disk is a tmpfs where root may mount one, else a limit on the size of files.

import assert from 'node:assert/strict'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, http, online, register, wholeRoom } from '../support/client.mjs'
import { runProgram, startServer, temporary } from '../support/server.mjs'
import { atEnd, eventually, test } from '../support/suite.mjs'

const disk = join(temporary(), 'disk')
mkdirSync(disk)
const mounted = process.getuid() === 0 && (await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk])).code === 0
const unmount = () => runProgram('umount', ['-l', disk])
if (mounted) atEnd('the small disk is unmounted', unmount)
const skip = mounted ? '' : 'a small disk needs root and mount'

test('storage_full, nothing broadcast, and it goes on when there is room again', async () => {
  const server = await startServer({ data: join(disk, 'data') })
  const alice = await register(server, 'alice'), bob = await register(server, 'bob')
  const a = await online(server, alice), b = await online(server, bob)
  await a.say('while there is room', { nonce: 'first' })

  const free = statfsSync(disk)
  const ballast = join(disk, 'ballast')
  writeFileSync(ballast, Buffer.alloc(Math.max(0, free.bavail * free.bsize - (512 << 10))))

  const stored = new Set(['first'])
  let refusal
  for (let i = 0; i < 2000 && !refusal; i++) {
    const nonce = `full${i}`
    a.send({ type: 'message', text: 'x'.repeat(3900), nonce })
    const f = await a.until(x => x.nonce === nonce)
    if (f.type === 'error') refusal = f
    else stored.add(nonce)
  }
  assert.ok(refusal, 'the disk did not get full')
  assert.ok(['storage_full', 'unavailable'].includes(refusal.code), JSON.stringify(refusal))
  assert.ok(!b.isClosed || server.exit === null, 'the server lives')
  assert.equal((await call(server, 'GET', '/api/rooms/1/messages?limit=1&after=0', { token: alice.token }, 200)).messages[0].text, 'while there is room')
  // It may have had to open its database anew, and closed the sockets 1001 for that: clients come back.
  const again = async (s, person) => s.isClosed ? online(server, person) : s
  let a2 = await again(a, alice)

  rmSync(ballast)
  const settled = await eventually('the same nonce is stored', async () => {
    a2 = await again(a2, alice)
    a2.send({ type: 'message', text: 'x'.repeat(3900), nonce: refusal.nonce })
    const f = await a2.until(x => x.nonce === refusal.nonce).catch(() => null)
    return f?.type === 'message' && f
  }, 15_000)
  stored.add(refusal.nonce)
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  const all = await wholeRoom(server, alice.token)
  assert.equal(all.length, stored.size, 'all that was acknowledged, once, and nothing else')
  const b2 = await again(b, bob)
  await b2.reaches(settled.rev)
  const heard = b.log.filter(f => f.type === 'message').map(f => f.nonce)
  assert.ok(heard.every(nonce => stored.has(nonce)), 'what was refused was not broadcast')
  await server.stop()
}, { skip, timeout: 60_000 })

test('a server that cannot make its database says so and ends', async () => {
  rmSync(join(disk, 'data'), { recursive: true, force: true })
  const free = statfsSync(disk)
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(free.bavail * free.bsize))
  const error = await startServer({ data: join(disk, 'data'), quietEnd: true }).catch(e => e)
  assert.ok(error instanceof Error, 'it started on a full disk')
  assert.ok(Number.isInteger(error.code) && error.code !== 0, `ended with ${error.signal ?? error.code}`)
  assert.match(error.message, /space|full|disk/i)
  rmSync(join(disk, 'ballast'))
}, { skip })
