// Promise: the faults of the original ChatterBox do not come back, one test each: passwords in plain text, a socket
// authenticated by a name in the URL, history without a login, a second tab that throws out the first, one global seen
// bit, "hate" matching "whatever", a block that nobody can lift. (Text through innerHTML is a test of the page.)

import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, online, refused, register, wsRefused } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const words = join(temporary(), 'words')
writeFileSync(words, 'hate\n')
const server = await startServer({ args: ['--stop-words', words] })
const PLAIN = 'plainly visible secret 4711'
const alice = await register(server, 'alice', { password: PLAIN }), bob = await register(server, 'bob'), carol = await register(server, 'carol')
const a = await online(server, alice), b = await online(server, bob), c = await online(server, carol)

/** All that is in the data directory, as one string. */
function everyFile() {
  // Not `recursive: true`: Node.js 18, which Debian 12 has, takes the control socket for a directory there.
  const below = dir => readdirSync(dir, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? below(join(dir, entry.name)) : entry.isFile() ? [join(dir, entry.name)] : [])
  return below(server.data).map(path => readFileSync(path, 'latin1')).join('\n')
}

test('neither passwords nor tokens are in any file or in the log; the hash is Argon2id', async () => {
  await a.say('something to store')
  const all = everyFile() + server.log()
  assert.ok(all.includes('something to store'), 'we look at the right files')
  assert.ok(all.includes('$argon2id$v=19$'))
  assert.ok(!all.includes(PLAIN))
  assert.ok(!all.includes(alice.token) && !all.includes(alice.token.replaceAll('-', '')))
  assert.ok(!all.includes(Buffer.from(alice.token.replaceAll('-', ''), 'hex').toString('latin1')))
})

test('a name in the URL opens no socket', async () => {
  for (const query of [{ username: 'alice' }, { user: 'alice' }, { name: 'alice' }, { token: 'alice' }, { id: '1' }]) {
    await wsRefused(server, { query }, 401, 'unauthorized')
  }
})

test('nothing is read without a login', async () => {
  for (const path of ['/api/rooms/1/messages', '/api/rooms', '/api/rooms/1/members', '/api/users', '/api/me', '/api/me/sessions']) {
    await refused(server, 'GET', path, {}, 401, 'unauthorized')
  }
})

test('a second tab does not throw out the first; both hear and speak', async () => {
  const tabs = [a, await online(server, alice), await online(server, alice)]
  for (const [i, tab] of tabs.entries()) {
    const said = await tab.say(`from tab ${i}`)
    for (const other of tabs) if (other !== tab) await other.until(f => f.id === said.id)
  }
  await tabs[2].close()
  await tabs[0].say('still here')
  await tabs[1].close()
})

test('seen is told for each reader and each room by itself', async () => {
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Side', members: ['bob', 'carol'] } }, 201)
  const lobby = await a.say('in the lobby'), side = await a.say('in the side room', { room: room.id })
  b.send({ type: 'seen', room: 1, id: lobby.id })
  c.send({ type: 'seen', room: room.id, id: side.id })
  await a.until(f => f.type === 'seen' && f.user === 'bob' && f.room === 1 && f.id === lobby.id)
  await a.until(f => f.type === 'seen' && f.user === 'carol' && f.room === room.id && f.id === side.id)
  const again = await online(server, alice)
  const marks = id => again.welcome.rooms.find(r => r.id === id).seen_by
  assert.equal(marks(1).bob, lobby.id)
  assert.ok(!(marks(1).carol >= lobby.id))
  assert.equal(marks(room.id).carol, side.id)
  assert.ok(!(marks(room.id).bob >= side.id))
  await again.close()
})

test('"hate" is not in "whatever"', async () => {
  await b.say('whatever you like, chatelaine')
  b.send({ type: 'message', text: 'hate', nonce: 'h' })
  assert.equal((await b.until(f => f.nonce === 'h')).type, 'warning')
})

test('a block is lifted with `user unblock`', async () => {
  for (let i = 0; i < 3; i++) c.send({ type: 'message', text: 'hate', nonce: `h${i}` })
  await c.expectClose(4002)
  await refused(server, 'GET', '/api/me', { token: carol.token }, 403, 'blocked')
  const done = await server.cli(['user', 'unblock', 'carol'])
  assert.equal(done.code, 0, done.stderr)
  const back = await online(server, carol)
  await back.say('back again')
  await back.close()
})

test('the text of a deleted message is gone for good, from the disk too', async () => {
  const said = await a.say('an-unforgettable-mistake')
  a.send({ type: 'edit', id: said.id, text: 'an-edited-mistake' })
  await a.until(f => f.id === said.id && f.edited)
  a.send({ type: 'delete', id: said.id })
  await a.until(f => f.id === said.id && f.deleted)
  await server.stop() // the log of the database is merged and removed
  assert.ok(!everyFile().includes('an-edited-mistake'))
  assert.ok(!everyFile().includes('an-unforgettable-mistake'))
  await server.restart()
})
