// The runner of one test file: `test(name, fn)` collects, and once the file has been read to its end the tests run in
// order, each with a time limit. Prints `ok`/`not ok` lines and `# N passed, N failed`; a failure shows the last lines
// that the servers logged. Randomness comes from `random`, whose seed is printed and can be given again (SEED=n).
// Owns nothing but the list of tests; servers register what is to be stopped with `atEnd`, and when they do not stop
// cleanly that is a failure too. SLOW=4 stretches every time limit, for sanitizers and slow machines.

import { pathToFileURL } from 'node:url'
import { basename } from 'node:path'

const sanitized = /\basan\b/.test(process.env.CHATTERBOX ?? '')
export const SLOW = Number(process.env.SLOW || (sanitized ? 4 : 1))
/** Whether memory is worth measuring: not with sanitizers, nor in an emulator (where SLOW is set). */
export const measured = SLOW === 1
export const seed = Number(process.env.SEED || Math.floor(Math.random() * 2 ** 31))

const tests = []
const enders = []
const tails = []
let seedUsed = false

/** Adds a test. `together: true` lets it run beside its neighbours that say so too, for tests that mostly wait. */
export function test(name, fn, { timeout = 10_000, together = false, skip = '' } = {}) {
  tests.push({ name, fn, timeout: timeout * SLOW, together, skip })
}

/** Calls `fn` after the last test; if it throws, that counts as a failed test called `name`. */
export function atEnd(name, fn) { enders.push({ name, fn }) }

/** Names a source of lines that a failure shows: `fn()` gives an array of strings. */
export function onFailure(title, fn) { tails.push({ title, fn }) }

/** mulberry32: a small generator that gives the same numbers for the same seed everywhere. */
export const random = {
  state: seed >>> 0,
  next() {
    seedUsed = true
    this.state = (this.state + 0x6D2B79F5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  },
  below(n) { return Math.floor(this.next() * n) },
  pick(list) { return list[this.below(list.length)] },
}

export const sleep = ms => new Promise(done => setTimeout(done, ms))

/** Waits until `fn()` gives something true and returns it: for what has no event to wait for. */
export async function eventually(what, fn, timeout = 5000) {
  const end = Date.now() + timeout * SLOW
  for (;;) {
    const value = await fn()
    if (value) return value
    if (Date.now() > end) throw new Error(`never came true: ${what}`)
    await sleep(20)
  }
}

/** Rejects after `ms` with a sentence that names what was waited for. */
export function within(ms, what, promise) {
  let timer
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`timed out after ${ms * SLOW} ms: ${what}`)), ms * SLOW)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function runOne(t, count) {
  if (t.skip) {
    console.log(`ok - ${t.name} # skipped: ${t.skip}`)
    count.skipped++
    return
  }
  const start = Date.now()
  try {
    await within(t.timeout / SLOW, `the test itself`, Promise.resolve().then(t.fn))
    console.log(`ok - ${t.name} (${Date.now() - start} ms)`)
    count.passed++
  } catch (error) {
    count.failed++
    console.log(`not ok - ${t.name} (${Date.now() - start} ms)`)
    console.log(String(error?.stack ?? error).replace(/^/gm, '    '))
    if (seedUsed) console.log(`    SEED=${seed}`)
    for (const tail of tails) {
      console.log(`    -- ${tail.title}`)
      for (const line of tail.fn().slice(-25)) console.log(`    | ${line}`)
    }
  }
}

async function runAll() {
  const count = { passed: 0, failed: 0, skipped: 0 }
  for (let i = 0; i < tests.length;) {
    const group = [tests[i++]]
    while (group[0].together && tests[i]?.together) group.push(tests[i++])
    await Promise.all(group.map(t => runOne(t, count)))
  }
  for (const { name, fn } of enders.reverse()) {
    try {
      await fn()
    } catch (error) {
      count.failed++
      console.log(`not ok - ${name}\n${String(error?.stack ?? error).replace(/^/gm, '    ')}`)
      for (const tail of tails) for (const line of tail.fn().slice(-40)) console.log(`    | ${line}`)
    }
  }
  if (seedUsed) console.log(`# SEED=${seed}`)
  const skipped = count.skipped ? `, ${count.skipped} skipped` : ''
  console.log(`# ${basename(process.argv[1])}: ${count.passed} passed, ${count.failed} failed${skipped}`)
  process.exit(count.failed ? 1 : 0)
}

// Importing the main module again only waits for the end of its top level: then every test is on the list.
setImmediate(async () => {
  try {
    await import(pathToFileURL(process.argv[1]).href)
  } catch (error) {
    console.log(`not ok - the file itself\n${String(error?.stack ?? error).replace(/^/gm, '    ')}`)
    for (const tail of tails) for (const line of tail.fn().slice(-25)) console.log(`    | ${line}`)
    console.log(`# ${basename(process.argv[1])}: 0 passed, 1 failed`)
    process.exit(1)
  }
  if (tests.length) await runAll()
})
