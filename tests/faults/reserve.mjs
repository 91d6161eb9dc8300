// Promise: room for deletions and blocks is kept on every file system: also where it cannot be asked for (then it is written), and without it the
// server works as well. The disk is as small as a file says (inject.cpp), so that this needs no right to mount one; tests/crash/disk-full.mjs has a real one.

import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { binary, runProgram } from '../support/server.mjs'
import { call, http, online, register } from '../support/client.mjs'
import { eventually, sleep, test } from '../support/suite.mjs'
import { begin, directory, forget } from './lib.mjs'

const RESERVE = 1 << 20
const size = (dir, name) => { try { return statSync(join(dir, 'data', name)).size } catch { return 0 } }

test('where no room can be promised the reserve is written, with what cannot be compressed', async () => {
  const dir = directory()
  const server = await begin(`${dir}/data`, { fault: 'room:1', env: { FAULT_CODE: '95' } })
  assert.ok(server.hit)
  const bytes = readFileSync(join(dir, 'data/reserve'))
  assert.equal(bytes.length, RESERVE)
  assert.ok(new Set(bytes.subarray(RESERVE - 4096)).size > 200)
  await server.stop()
  forget(dir)
})

test('a reserve that cannot be made at all is one line in the log', async () => {
  const dir = directory()
  const server = await begin(`${dir}/data`, { fault: 'room:1', env: { FAULT_CODE: '5' } })
  assert.match(server.text, /^.* warn .*no room can be kept for a full disk: .{5}/m)
  const alice = await register(server, 'alice'), a = await online(server, alice)
  assert.equal((await a.say('goes on')).type, 'message')
  assert.equal((await server.stop()).code, 0)
  forget(dir)
})

test('on a full disk a message is refused and a deletion and a block are not, until there is room', async () => {
  const dir = directory(), disk = join(dir, 'data/disk')
  const server = await begin(`${dir}/data`, { env: { FAULT_DISK: disk } })
  const alice = await register(server, 'alice'), bob = await register(server, 'bob')
  const a = await online(server, alice), b = await online(server, bob)
  const said = []
  for (let i = 0; i < 30; i++) said.push(await a.say(`${i} ${'long '.repeat(200)}`))
  // What it has now, and no page more.
  const used = ['chatterbox.db', 'chatterbox.db-wal', 'chatterbox.db-shm', 'reserve'].reduce((sum, name) => sum + Math.ceil(size(dir, name) / 4096) * 4096, 0)
  writeFileSync(disk, String(used))
  const refused = await a.ask({ type: 'message', text: 'x'.repeat(3000), nonce: 'n' })
  assert.equal(refused.code, 'storage_full')
  for (const { id } of said) assert.ok((await a.ask({ type: 'delete', id })).deleted)
  assert.equal((await runProgram(binary, ['user', 'block', '--data', `${dir}/data`, 'bob'])).code, 0)
  await b.until(f => f.type === 'blocked')
  assert.equal((await a.ask({ type: 'message', text: 'x', nonce: 'n' })).code, 'storage_full')
  assert.equal((await call(server, 'GET', '/api/rooms/1/messages?limit=200', { token: alice.token }, 200)).messages.filter(m => m.deleted).length, 30)
  assert.equal(size(dir, 'reserve'), 0)
  writeFileSync(disk, String(used + 8 * RESERVE))
  await eventually('messages are stored again', async () => {
    const f = await a.ask({ type: 'message', text: 'x', nonce: 'n' })
    if (f.type === 'error') await sleep(200)
    return f.type === 'message'
  })
  assert.equal(size(dir, 'reserve'), RESERVE)
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  assert.equal((await server.stop()).code, 0)
  assert.equal((await runProgram(binary, ['check', '--data', `${dir}/data`])).code, 0)
  forget(dir)
})
