// Promise: the binary runs from an empty chroot that holds nothing but it and a data directory, and serves the page
// there. Needs root and the static binary; says so where it is not.

import assert from 'node:assert/strict'
import { chmodSync, copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, http, online, register } from '../support/client.mjs'
import { binary, runProgram, startServer, temporary } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

/** Whether a file is an ELF program of this machine that names no interpreter: no program header of the type PT_INTERP. */
function isStatic(file) {
  const elf = readFileSync(file), mine = readFileSync(process.execPath)
  if (elf.toString('latin1', 0, 4) !== '\x7fELF' || !elf.subarray(4, 6).equals(mine.subarray(4, 6)) || !elf.subarray(18, 20).equals(mine.subarray(18, 20))) return false
  const wide = elf[4] === 2
  const big = elf[5] === 2
  const u16 = at => big ? elf.readUInt16BE(at) : elf.readUInt16LE(at)
  const u32 = at => big ? elf.readUInt32BE(at) : elf.readUInt32LE(at)
  const offset = wide ? u32(32) : u32(28), size = u16(wide ? 54 : 42), count = u16(wide ? 56 : 44)
  return !Array.from({ length: count }, (_, i) => u32(offset + i * size)).includes(3)
}

const root = temporary()
const able = process.getuid() === 0 && isStatic(binary) && (await runProgram('chroot', ['/', '/bin/true']).catch(() => ({ code: 1 }))).code === 0
const skip = able ? '' : process.getuid() !== 0 ? 'needs root for chroot' : !isStatic(binary) ? 'the binary is no static program of this machine' : 'chroot is not allowed here'

test('it serves from an empty root', async () => {
  copyFileSync(binary, join(root, 'chatterbox'))
  chmodSync(join(root, 'chatterbox'), 0o755)
  mkdirSync(join(root, 'data'), { mode: 0o700 })
  // The helper's command line names the program and the data as they are outside: $1 program, $2 serve, $3 --data, $4 data.
  const enter = 'shift 4; exec chroot "$0" /chatterbox serve --data /data "$@"'
  const server = await startServer({ wrap: ['sh', '-c', enter, root], data: join(root, 'data') })
  assert.equal((await http(server, 'GET', '/login')).status, 200)
  const alice = await register(server, 'alice'), bob = await register(server, 'bob')
  assert.equal((await http(server, 'GET', '/', { cookie: alice.token })).status, 200)
  const a = await online(server, alice), b = await online(server, bob)
  const said = await a.say('hello from nowhere')
  await b.until(f => f.id === said.id)
  await server.restart()
  const { messages } = await call(server, 'GET', '/api/rooms/1/messages', { token: bob.token })
  assert.deepEqual(messages.map(m => m.text), ['hello from nowhere'])
  assert.equal(await server.stop(), 0)
}, { skip, timeout: 20_000 })
