// Promise: when the disk is full a message is answered with storage_full or unavailable and not broadcast, reading goes
// on, the server lives, and once there is room again it stores; the same nonce settles what was not known to be stored
// (PROTOCOL §3.3). What frees room or keeps somebody out is stored all the same, in the room of a reserve file, also by a
// server that is started on the full disk. The small disk is a tmpfs, which root may mount; DISK=… is a folder on another one.

import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, rmSync, statSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, http, online, register, wholeRoom } from '../support/client.mjs'
import { runProgram, startServer, temporary } from '../support/server.mjs'
import { atEnd, eventually, test } from '../support/suite.mjs'

const disk = process.env.DISK || join(temporary(), 'disk')
mkdirSync(disk, { recursive: true })
const mounted = process.env.DISK || process.getuid() === 0 && (await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', disk])).code === 0
const unmount = () => runProgram('umount', ['-l', disk])
if (mounted && !process.env.DISK) atEnd('the small disk is unmounted', unmount)
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

const reserve = data => { const s = statSync(join(data, 'reserve')); return { size: s.size, taken: s.blocks * 512 } }
const RESERVE = 1 << 20

/** Not a byte is left: some file systems keep a few back from large files, so it goes on with small ones. */
function fillUp(file) {
  for (let step = 1 << 20; step >= 1; step >>= 1) {
    try { for (;;) appendFileSync(file, Buffer.alloc(step, 'x')) } catch (error) { assert.equal(error.code, 'ENOSPC') }
  }
}

test('deletions and blocks are stored when not a byte is left, and the reserve comes back', async () => {
  const data = join(disk, 'data2'), ballast = join(disk, 'ballast')
  const server = await startServer({ data })
  assert.equal(reserve(data).size, RESERVE)
  assert.ok(reserve(data).taken >= RESERVE, 'its room is really taken')
  const alice = await register(server, 'alice'), bob = await register(server, 'bob'), mallory = await register(server, 'mallory')
  assert.equal((await server.cli(['user', 'role', 'alice', 'moderator'])).code, 0)
  let a = await online(server, alice), b = await online(server, bob)
  const m = await online(server, mallory)
  const said = []
  for (let i = 0; i < 60; i++) said.push(await (i % 2 ? a : b).say(`${i} ${'long '.repeat(300)}`, { nonce: `n${i}` }))
  fillUp(ballast)

  // The end of the log's last block may take a message or two.
  let refused, nonces = 0
  const refusal = async socket => {
    for (let i = 0; i < 2000; i++) {
      const nonce = `full${nonces++}`
      socket.send({ type: 'message', text: 'x'.repeat(3900), nonce })
      const f = await socket.until(x => x.nonce === nonce)
      if (f.type === 'error') return f
      said.push(f)
    }
  }
  refused = await refusal(a)
  assert.equal(refused?.code, 'storage_full')
  assert.equal(reserve(data).size, RESERVE, 'messages alone do not touch it')
  const remove = async (socket, id) => {
    const f = await socket.ask({ type: 'delete', id })
    assert.equal(f.type, 'message', JSON.stringify(f))
    assert.ok(f.deleted && f.text === '')
    return f
  }
  const gone = new Set()
  const take = async (socket, i) => { gone.add(said[i].id); return remove(socket, said[i].id) }
  const first = await take(a, 0)
  assert.equal(reserve(data).size, 0)
  assert.equal((await b.until(f => f.id === said[0].id && f.deleted)).rev, first.rev, 'and is broadcast')
  a.send({ type: 'message', text: 'still not', nonce: 'still-not' })
  assert.equal((await a.until(f => f.nonce === 'still-not')).code, 'storage_full')
  const block = await server.cli(['user', 'block', 'mallory'])
  assert.equal(block.code, 0, block.stderr)
  assert.equal((await m.until(f => f.type === 'blocked')).type, 'blocked')
  for (let i = 1; i < 25; i++) await take(a, i)

  // Who deletes and blocks may log in for it; the rest reads.
  const login = username => http(server, 'POST', '/api/login', { json: { username, password: 'correct horse battery' } })
  const moderator = await login('alice')
  assert.equal(moderator.status, 200)
  assert.equal((await login('bob')).status, 507)
  assert.equal((await http(server, 'POST', '/api/logout', { token: moderator.json.token })).status, 204)
  assert.equal((await wholeRoom(server, bob.token)).length, said.length)

  // Started again after a kill it finds the disk as full as it was; after an end, the log's room is free until it is full once more.
  for (const [at, way] of ['kill9', 'stop'].entries()) {
    await server[way]()
    await server.restart()
    a = await online(server, alice)
    b = await online(server, bob)
    if (way === 'stop') {
      fillUp(ballast)
      assert.equal((await refusal(b))?.code, 'storage_full')
    }
    await take(b, 26 + 2 * at)
    await take(a, 27 + 2 * at)
    b.send({ type: 'message', text: 'x'.repeat(3900), nonce: `still${at}` })
    assert.equal((await b.until(f => f.nonce === `still${at}`)).code, 'storage_full')
  }
  assert.ok(server.errors.length < 30, `a few lines, not one for each: ${server.log()}`)

  // A full disk is the server's fault: who goes on trying is not shut out for it, as who sends nonsense is.
  for (let i = 0; i < 25; i++) b.send({ type: 'message', text: 'x'.repeat(3900), nonce: `on${i}` })
  for (let i = 0; i < 25; i++) assert.equal((await b.until(f => f.nonce === `on${i}`)).code, 'storage_full')

  rmSync(ballast)
  const back = await eventually('messages are stored again', async () => {
    b.send({ type: 'message', text: 'there is room', nonce: 'still-not' })
    const f = await b.next(x => x.nonce === 'still-not')
    return f.type === 'message' && f
  })
  said.push(back)
  assert.deepEqual({ ...reserve(data), taken: reserve(data).taken >= RESERVE }, { size: RESERVE, taken: true })
  assert.deepEqual((await wholeRoom(server, alice.token)).map(x => [x.id, !!x.deleted]), said.map(x => [x.id, gone.has(x.id)]))
  assert.equal((await http(server, 'GET', '/api/me', { token: mallory.token })).status, 403)
  assert.equal((await server.cli(['user', 'unblock', 'mallory'])).code, 0)
  await server.stop()
  const check = await server.cli(['check'])
  assert.equal(check.code, 0, check.stdout)
  rmSync(data, { recursive: true })
}, { skip, timeout: 60_000 })

test('a server that cannot make its database says so and ends', async () => {
  rmSync(join(disk, 'data'), { recursive: true, force: true })
  fillUp(join(disk, 'ballast'))
  const error = await startServer({ data: join(disk, 'data'), quietEnd: true }).catch(e => e)
  assert.ok(error instanceof Error, 'it started on a full disk')
  assert.ok(Number.isInteger(error.code) && error.code !== 0, `ended with ${error.signal ?? error.code}`)
  assert.match(error.message, /space|full|disk/i)
  rmSync(join(disk, 'ballast'))
}, { skip })
