// Promise: a database that cannot be right is refused at the start with a text that says what to do, and status 1; `chatterbox check` gives 0 for a good one and
// 1 for a bad one, also where a start does not notice; and no file is changed by a refusal or a check. What was half written when the power went is no damage.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { binary, cli, runProgram, startServer, temporary } from '../support/server.mjs'
import { http, online, register, wholeRoom } from '../support/client.mjs'
import { random, test } from '../support/suite.mjs'

const PAGE = 4096
const good = join(temporary(), 'data')
const named = (dir, name = 'chatterbox.db') => join(dir, name)
let alice, said = 0

// One good database for all, of a hundred pages and more; each test harms a copy of its own.
test('a good database is sound', async () => {
  const server = await startServer({ data: good })
  alice = await register(server, 'alice')
  const a = await online(server, alice)
  for (; said < 400; said++) a.send({ type: 'message', text: `${said} ${'of some length '.repeat(60)}`, nonce: `n${said}` })
  await a.until(f => f.nonce === 'n399')
  await a.close()
  assert.equal(await server.stop(), 0)
  assert.ok(statSync(named(good)).size > 100 * PAGE)
  const { code, stdout } = await cli(['check'], { data: good })
  assert.equal(code, 0)
  assert.match(stdout, /^\S+chatterbox\.db is sound: 400 messages, 1 accounts, 1 rooms; the log ends at \d+\n$/)
}, { timeout: 20_000 })

function copied() {
  const data = join(temporary(), 'data')
  mkdirSync(data, { mode: 0o700 })
  cpSync(named(good), named(data))
  return data
}

// The lock's text is the pid of the last who had it; the index of a log is no data, nor is a log without a byte, which SQLite leaves where it only looked.
const contents = data => Object.fromEntries(readdirSync(data).filter(name => !/^lock$|-shm$/.test(name) && statSync(named(data, name)).size > 0).sort()
  .map(name => [name, createHash('sha256').update(readFileSync(named(data, name))).digest('hex')]))

function flip(path, from, to) {
  const bytes = readFileSync(path)
  for (let at = from; at < to; at++) bytes[at] ^= 0xa5
  writeFileSync(path, bytes)
}

/** SQLite's user_version, in its place in the file. */
function setVersion(path, version) {
  const bytes = readFileSync(path)
  bytes.writeUInt32BE(version, 60)
  writeFileSync(path, bytes)
}

const serve = data => runProgram(binary, ['serve', '--listen', '127.0.0.1:0', '--data', data], { timeout: 10_000 })

/** Neither the server nor the command line opens it, the check calls it bad, and it stays what it is. */
async function refused(data, says, checked = says) {
  const before = contents(data)
  for (const open of [() => serve(data), () => cli(['user', 'list'], { data })]) {
    const { code, stdout, stderr } = await open()
    assert.equal(code, 1, stdout + stderr)
    assert.match(stderr, /^chatterbox: .{20,}$/m)
    assert.match(stderr, says)
  }
  await bad(data, checked)
  assert.deepEqual(contents(data), before, 'not a byte has changed')
}

async function bad(data, says) {
  const before = contents(data)
  const { code, stdout, stderr } = await cli(['check'], { data })
  assert.equal(code, 1, stdout)
  assert.match(stdout + stderr, says)
  assert.match(stderr, /is not sound\. Stop the server, copy the whole folder to a safe place, put the newest backup in the place of/)
  assert.deepEqual(contents(data), before, 'a check changes nothing')
}

const DO = /`chatterbox check --data \S+` says what is wrong and what to do/

test('a file that is no database', async () => {
  const data = copied()
  writeFileSync(named(data), 'Dear diary, today '.repeat(1000))
  await refused(data, /file is not a database/)
  assert.match((await serve(data)).stderr, DO)
})

test('a database, but of another program', async () => {
  const data = copied()
  setVersion(named(data), 0)
  await refused(data, /a database, but not of ChatterBox; put it elsewhere/, /not a database of ChatterBox/)
})

test('a database of a newer ChatterBox', async () => {
  const data = copied()
  setVersion(named(data), 99)
  await refused(data, /was written by a newer ChatterBox \(its version is 99, this program knows \d+\).*run the newer program/, /written by a newer ChatterBox/)
})

test('a header that is torn', async () => {
  const data = copied()
  flip(named(data), 0, 100)
  await refused(data, /file is not a database/)
})

test('a file that ends too early', async () => {
  const data = copied()
  truncateSync(named(data), Math.floor(statSync(named(data)).size / PAGE / 2) * PAGE)
  await refused(data, DO, /malformed|cannot be read|out of range|invalid page/i)
})

test('a file that lost all but its first pages', async () => {
  const data = copied()
  truncateSync(named(data), 2 * PAGE)
  await refused(data, DO, /malformed|cannot be read|out of range|invalid page/i)
})

test('a page in the middle, whichever it is: the check finds it', async () => {
  const pages = statSync(named(good)).size / PAGE
  for (let i = 0; i < 6; i++) {
    const data = copied(), page = 2 + random.below(pages - 2)
    flip(named(data), page * PAGE, page * PAGE + PAGE)
    await bad(data, /\S/)
  }
})

test('a damaged page that the server meets is an error, never the end and never a wrong answer', async () => {
  const data = copied(), bytes = readFileSync(named(data))
  // A leaf of messages, whose texts are in clear.
  const page = Math.floor(bytes.indexOf('200 of some length ') / PAGE)
  flip(named(data), page * PAGE, page * PAGE + PAGE)
  const server = await startServer({ data, quietEnd: true })
  const answer = await http(server, 'GET', '/api/rooms/1/messages?limit=200&after=150', { token: alice.token })
  assert.ok([200, 503].includes(answer.status), answer.text)
  if (answer.status === 200) for (const m of answer.json.messages) assert.match(m.text, /^\d+ (of some length )+of some length$/)
  const a = await online(server, alice)
  assert.equal((await a.say('the rest works')).type, 'message')
  await a.close()
  assert.equal(await server.stop(), 0)
  await bad(data, /\S/)
})

test('a log that is garbage holds nothing and does no harm', async () => {
  for (const garbage of [Buffer.from('garbage '.repeat(5000)), Buffer.alloc(50_000), Buffer.from([0x37, 0x7f, 0x06, 0x82, ...Buffer.alloc(9000, 7)])]) {
    const data = copied()
    writeFileSync(named(data, 'chatterbox.db-wal'), garbage)
    assert.equal((await cli(['check'], { data })).code, 0)
    const server = await startServer({ data })
    assert.equal((await wholeRoom(server, alice.token)).length, 400)
    await server.stop()
    assert.equal((await cli(['check'], { data })).code, 0)
  }
})

test('a log that a power cut has torn ends where it is torn', async () => {
  const data = join(temporary(), 'data')
  const server = await startServer({ data })
  const bob = await register(server, 'bob'), b = await online(server, bob)
  for (let i = 0; i < 20; i++) await b.say(`${i}`)
  await server.kill9()
  const log = named(data, 'chatterbox.db-wal'), size = statSync(log).size
  flip(log, size - 3 * PAGE, size - 2 * PAGE)
  await server.restart()
  const texts = (await wholeRoom(server, bob.token)).map(m => m.text)
  assert.ok(texts.length < 20 && texts.length > 10, `${texts.length}`)
  assert.deepEqual(texts, Array.from(texts, (_, i) => `${i}`))
  await server.stop()
  assert.equal((await cli(['check'], { data })).code, 0)
})

test('--data that names a file, or a folder inside one', async () => {
  const file = join(temporary(), 'file')
  writeFileSync(file, 'kept')
  for (const data of [file, join(file, 'data')]) {
    const { code, stderr } = await serve(data)
    assert.equal(code, 1)
    assert.match(stderr, /^chatterbox: cannot make the data folder \S+: (File exists|Not a directory)$/m)
  }
  assert.equal((await cli(['check'], { data: file })).code, 1)
  assert.equal(readFileSync(file, 'utf8'), 'kept')
})

test('a check of nothing makes nothing', async () => {
  const data = join(temporary(), 'none')
  const { code, stderr } = await cli(['check'], { data })
  assert.equal(code, 1)
  assert.match(stderr, /^chatterbox: there is no database in /)
  assert.ok(!existsSync(data))
})
