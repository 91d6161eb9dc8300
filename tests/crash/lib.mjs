// What a crash may not do, as a judge who remembers everything that anybody was told; and the people who talk, edit and delete without pause, or only
// read, over all crashes (the model client of support/follower.mjs). kill9-under-load.mjs lets them meet with `kill -9`.

import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Follower } from '../support/client.mjs'
import { cli, root, runProgram, temporary } from '../support/server.mjs'
import { random, sleep } from '../support/suite.mjs'

const crashLog = join(root, process.env.OUT ?? 'build', 'tests/crash-log')

/** All that is to be the same of a message at one rev, whoever tells it. */
const state = m => `${m.id} ${m.sender} ${m.time} ${m.edited ?? 0} ${m.deleted ?? 0} ${m.text}`

/** The database's own log behind `after`, read by SQLite alone: `{end, count, rows}`, rows by id. */
async function readLog(data, after) {
  if (!existsSync(crashLog)) throw new Error(`there is no ${crashLog}: run make fault-programs`)
  const { code, stdout, stderr } = await runProgram(crashLog, [data, String(after)], { timeout: 60_000 })
  assert.equal(code, 0, stderr)
  const lines = stdout.split('\n').slice(0, -1).map(line => line.split('\t'))
  const [end, count] = lines.shift().map(Number)
  const rows = lines.map(([id, rev, sender, time, edited, deleted, nonce, ...text]) =>
    ({ id: +id, rev: +rev, sender, time: +time, edited: +edited, deleted: +deleted, nonce, text: text.join('\t') }))
  return { end, count, rows }
}

/** Remembers what was told and compares it with what is stored. `base`: where the log ended before anything was said, `there`: messages up to then. */
export class Judge {
  constructor(base, there) {
    this.base = base
    this.there = there
    this.told = new Map()     // rev → state: of everybody, since the last look
    this.toldMax = 0
    this.rows = new Map()     // id → row, as of the last look
    this.looked = base        // the end of the log then
    this.lastOf = new Map()   // sender → [id, number] of the newest message
    this.sent = new Map()     // nonce → the texts that it has had or may have
    this.tellings = 0
  }

  /** Somebody was told this. A rev never means two things, not even over a crash. */
  hear(m) {
    this.tellings++
    if (m.rev <= this.base) return
    const said = state(m), before = this.told.get(m.rev) ?? (m.rev <= this.looked ? this.stateStored(m) : undefined)
    if (before === undefined) this.told.set(m.rev, said)
    else assert.equal(said, before, `rev ${m.rev} means two things`)
    if (m.rev > this.toldMax) this.toldMax = m.rev
  }

  stateStored({ id, rev }) {
    const row = this.rows.get(id)
    return row?.rev === rev ? state(row) : undefined
  }

  /** What a crash has left, or what a running server has: nothing told is missing, nothing is there twice or out of order, or was never said. */
  async look(data) {
    const { end, count, rows } = await readLog(data, this.looked)
    assert.ok(end >= this.toldMax, `the log ends at ${end}, but ${this.toldMax} was told`)
    assert.ok(end >= this.looked, `the log ends at ${end}, it was at ${this.looked}`)
    for (const row of rows) this.take(row)
    assert.equal(count, this.there + this.rows.size, 'each message once, and none has gone')
    for (const [rev, said] of this.told) {
      const id = Number.parseInt(said, 10), row = this.rows.get(id)
      assert.ok(row && row.rev >= rev, `rev ${rev} was lost, though it was told: ${said}`)
      if (row.rev === rev) assert.equal(state(row), said, `rev ${rev} is stored otherwise than it was told`)
    }
    this.told.clear()
    this.looked = end
    return end
  }

  take(row) {
    const texts = this.sent.get(row.nonce), number = Number(row.nonce.split('-')[1])
    assert.ok(texts, `nobody has said ${JSON.stringify(row)}`)
    assert.ok(row.deleted ? texts.has(null) : texts.has(row.text), `nobody has said so: ${JSON.stringify(row)}`)
    if (!this.rows.has(row.id)) {
      assert.ok(row.id > this.looked, `message ${row.id} was not there when the log was at ${this.looked}`)
      const [id, last] = this.lastOf.get(row.sender) ?? [0, -1]
      assert.ok(row.id > id && number === last + 1, `of ${row.sender}, ${number} at ${row.id} follows ${last} at ${id}: lost, doubled or reordered`)
      this.lastOf.set(row.sender, [row.id, number])
    }
    this.rows.set(row.id, row)
  }
}

/** The copy that `kill -9` has left is sound: SQLite says so, and what must hold beyond it does. Then the judge looks at it. */
export async function lookAtRuins(judge, data, { check = true } = {}) {
  const copy = join(temporary('chatterbox-crash-'), 'data')
  mkdirSync(copy)
  for (const name of ['chatterbox.db', 'chatterbox.db-wal']) if (existsSync(join(data, name))) cpSync(join(data, name), join(copy, name))
  if (check) {
    const { code, stdout, stderr } = await cli(['check'], { data: copy })
    assert.equal(code, 0, `chatterbox check: ${stdout}${stderr}`)
  }
  await judge.look(copy)
  rmSync(copy, { recursive: true })
}

/** Follows, and holds every message behind the judge's base in its newest state. */
export class Listener extends Follower {
  constructor(server, person, judge) {
    super(server, person, { retry: 10 })
    this.judge = judge
    this.held = new Map() // id → message
  }

  hold(m) {
    this.judge.hear(m)
    const old = this.held.get(m.id)
    if (m.id > this.judge.base && (!old || m.rev > old.rev)) this.held.set(m.id, m)
  }

  /** It holds what is stored, all of it and nothing else. `since`: what is older was compared before. */
  compare(since) {
    assert.equal(this.held.size, this.judge.rows.size, `${this.person.username} holds as many messages as there are`)
    for (const [id, row] of this.judge.rows) {
      if (row.rev <= since) continue
      const m = this.held.get(id)
      assert.ok(m, `${this.person.username} has missed ${state(row)}`)
      assert.equal(`${m.rev} ${state(m)}`, `${row.rev} ${state(row)}`)
    }
  }
}

const WINDOW = 30 // under way at a time

/** Talks as fast as it is answered: mostly messages, sometimes an edit or a deletion of one of its own. What is not acknowledged is said again. */
export class Talker extends Listener {
  constructor(...args) {
    super(...args)
    this.number = 0
    this.mine = []         // ids of its messages that are not deleted
    this.ops = new Map()   // id → the frame of an edit or a deletion that is under way
    this.acked = 0
  }

  onFrame(frame) {
    assert.notEqual(frame.type, 'error', JSON.stringify(frame))
    super.onFrame(frame)
    if (frame.type === 'message' && frame.sender === this.person.username) this.settle(frame)
    if (frame.type === 'ready') for (const op of this.ops.values()) this.socket.send(op)
  }

  settle(m) {
    const op = this.ops.get(m.id)
    if (op && (op.type === 'delete' ? m.deleted : m.text === op.text)) {
      this.ops.delete(m.id)
      this.acked++
      if (!m.deleted) this.mine.push(m.id)
    } else if (m.id === m.rev && !m.repeat) { // a repeat has come, or will, with the log too
      this.mine.push(m.id)
    }
  }

  say() {
    const name = this.person.username, nonce = `${name}-${this.number++}`, text = `${nonce} says something${' and more'.repeat(random.below(8))}`
    this.judge.sent.set(nonce, new Set([text]))
    this.post(text, { nonce })
  }

  /** Takes one of its messages out of `mine` until what happens to it has been acknowledged. */
  change() {
    const at = random.below(this.mine.length), id = this.mine[at], m = this.held.get(id)
    this.mine[at] = this.mine.at(-1)
    this.mine.pop()
    const texts = this.judge.sent.get(m.nonce), frame = random.below(4) ? { type: 'edit', id, text: `${m.nonce} says it otherwise, ${texts.size}` } : { type: 'delete', id }
    texts.add(frame.text ?? null)
    this.ops.set(id, frame)
    if (this.live) this.socket.send(frame)
  }

  async talk(over) {
    while (!over()) {
      for (let n = random.below(12); n >= 0 && this.outbox.size + this.ops.size < WINDOW; n--) {
        if (this.mine.length && random.below(4) === 0) this.change()
        else this.say()
      }
      await sleep(random.below(4))
    }
  }

  get isIdle() { return this.live && !this.outbox.size && !this.ops.size }
}
