// Promise: what was acknowledged survives `kill -9`: nothing is lost, doubled or reordered, whoever tells it; the database is sound after each crash; and at
// durability full the epoch stays, so that everybody resumes (PROTOCOL §1). Six people talk, edit and delete without pause and four read, the server is
// killed at a random moment, sometimes again while it starts or while everybody comes back, and is started on the same data; what was not acknowledged
// is said again. `make crash ROUNDS=200` does it for long, and on a million messages, where a start takes less than a second.

import assert from 'node:assert/strict'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { http, login, online, register } from '../support/client.mjs'
import { binary, root, runProgram, startServer, temporary } from '../support/server.mjs'
import { SLOW, random, sleep, test } from '../support/suite.mjs'
import { Judge, Listener, Talker, lookAtRuins } from './lib.mjs'

const TALKERS = 6, READERS = 4
const rounds = Number(process.env.ROUNDS || 4), long = Boolean(process.env.ROUNDS), wanted = process.argv[2] ?? ''

/** Everybody, coming to the server for the first time. */
async function gather(server, judge, person) {
  const talkers = [], readers = []
  for (let i = 0; i < TALKERS; i++) talkers.push(new Talker(server, await person(`talker${i}`), judge).start())
  for (let i = 0; i < READERS; i++) readers.push(new Listener(server, await person(`reader${i}`), judge).start())
  const all = [...talkers, ...readers]
  await Promise.all(all.map(c => c.until('ready', x => x.live)))
  return { talkers, readers, all }
}

/** Kills, and waits until everybody has heard all that had been told. */
async function kill(server, all) {
  await server.kill9()
  await Promise.all(all.map(c => c.socket.closed))
}

/** Kills the server while it is talked to, starts it again, waits until all that was under way is settled. Gives how long the start took in ms. */
async function round(server, judge, { talkers, all }, { check }) {
  let over = false, crashes = 1
  const before = judge.looked, acks = talkers.map(t => t.acks.length)
  const talking = Promise.all(talkers.map(t => t.talk(() => over)))
  // Not before everybody has come back and been answered: else nothing is under way.
  await Promise.all(talkers.map((t, i) => t.until('to be answered', x => x.acks.length > acks[i])))
  await sleep(random.below(500))
  await kill(server, all)
  await lookAtRuins(judge, server.data, { check })
  for (; random.below(3) === 0; crashes++) { // again, while it starts or while they come back
    const starts = server.restart().catch(() => {})
    if (random.below(2)) await starts
    await sleep(random.below(60))
    await kill(server, all)
    await starts
    await lookAtRuins(judge, server.data, { check })
  }
  const begin = performance.now()
  await server.restart()
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  const took = performance.now() - begin
  over = true
  await talking
  await Promise.all(talkers.map(t => t.until('all to be acknowledged', x => x.isIdle)))
  const end = await judge.look(server.data)
  await Promise.all(all.map(c => c.until('the end of the log', x => x.live && x.position >= end)))
  for (const c of all) {
    if (c.fault) throw c.fault
    c.compare(before)
    assert.equal(c.epoch, all[0].epoch, 'the epoch stays at durability full')
  }
  for (const t of talkers) assert.equal(judge.lastOf.get(t.person.username)[1], t.number - 1, 'all that was said is there')
  return { took, crashes }
}

/** Somebody new sees the newest fifty, as they are. */
async function newcomer(server, judge, person) {
  const s = await online(server, person)
  const { messages } = await s.heard(f => f.type === 'history')
  const newest = [...judge.rows.values()].sort((a, b) => a.id - b.id).slice(-messages.length)
  assert.deepEqual(messages.map(m => `${m.id} ${m.rev} ${m.text}`), newest.map(m => `${m.id} ${m.rev} ${m.text}`))
  await s.close()
}

async function crashes(server, judge, people, person, count, options) {
  const begin = performance.now(), took = []
  let kills = 0
  for (let i = 0; i < count; i++) {
    const r = await round(server, judge, people, options)
    took.push(r.took)
    kills += r.crashes
    if (long && (i + 1) % 10 === 0) {
      console.log(`# round ${i + 1}: ${kills} kills, ${judge.rows.size} messages up to rev ${judge.looked}, ${judge.tellings} tellings, ${((performance.now() - begin) / 1000).toFixed(0)} s`)
    }
  }
  await newcomer(server, judge, await person('newcomer'))
  await Promise.all(people.all.map(c => c.stop()))
  // From the beginning: nothing that was compared before has changed since.
  const whole = new Judge(judge.base, judge.there)
  whole.sent = judge.sent
  await whole.look(server.data)
  for (const c of people.all) { c.judge = whole; c.compare(judge.base) }
  const resumes = people.all.reduce((n, c) => n + c.resumes, 0)
  const changed = people.talkers.reduce((n, t) => n + t.acked, 0)
  console.log(`# ${kills} kills in ${count} rounds: ${judge.rows.size} messages, ${changed} edits and deletions, ${resumes} resumes; start and first answer ` +
    `${Math.min(...took).toFixed(0)} to ${Math.max(...took).toFixed(0)} ms`)
}

const skip = name => name.includes(wanted) ? '' : 'not asked for'

test(`${rounds} rounds of kills under load`, async () => {
  const server = await startServer(), judge = new Judge(0, 0)
  const person = name => register(server, name)
  const people = await gather(server, judge, person)
  await crashes(server, judge, people, person, rounds, { check: true })
  await server.stop()
}, { timeout: 30_000 + rounds * 10_000, skip: skip('rounds') })

test('a million messages: a start after a crash does not take longer for them', async () => {
  const seed = join(root, 'build/bench/seed'), data = join(temporary(), 'data')
  if (!existsSync(seed)) throw new Error(`there is no ${seed}: run make bench-programs`)
  const { code, stdout, stderr } = await runProgram(seed, [data, '--users', String(TALKERS + READERS + 1), '--messages', '1000000'], { timeout: 90_000 })
  assert.equal(code, 0, stderr)
  const judge = new Judge(Number(stdout), 1_000_000)
  const server = await startServer({ data })
  let next = 1
  const person = () => login(server, `user${next++}`, 'a measured word')
  const people = await gather(server, judge, person)
  // The whole check reads every row: once, at the end.
  await crashes(server, judge, people, person, 5, { check: false })
  await server.kill9()
  const log = existsSync(join(data, 'chatterbox.db-wal')) ? statSync(join(data, 'chatterbox.db-wal')).size : 0
  const begin = performance.now()
  await server.restart()
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  const took = performance.now() - begin
  console.log(`# a million messages, ${(statSync(join(data, 'chatterbox.db')).size / 1e6).toFixed(0)} MB and a log of ${(log / 1e6).toFixed(1)} MB: start and first answer after kill -9 in ${took.toFixed(0)} ms`)
  assert.ok(took < 1000 * SLOW, `${took.toFixed(0)} ms: it reads what it need not`)
  await server.stop()
  const check = await server.cli(['check'], { timeout: 60_000 })
  assert.equal(check.code, 0, check.stdout + check.stderr)
}, { timeout: 180_000, skip: long ? skip('million') : 'make crash' })

test('a kill during the very first start leaves a directory that starts', async () => {
  for (let ms = 1; ms <= 40; ms += 3) {
    const data = join(temporary(), 'data')
    await runProgram('timeout', ['-s', 'KILL', `${ms / 1000}`, binary, 'serve', '--listen', '127.0.0.1:0', '--data', data])
    const server = await startServer({ data })
    await register(server, 'alice')
    await server.stop()
  }
}, { timeout: 60_000, skip: skip('first start') })
