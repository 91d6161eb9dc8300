// Runs the tests from outside: every .mjs of tests/talk, tests/crash, tests/faults and tests/page, each as a process of its own, two
// at a time, and adds up what they counted (and what the unit tests left in build/unit/summary). Arguments select:
// folders (`talk`), files, or parts of names. Ends with `N passed, N failed`; the exit status tells the same.
// JOBS=1 runs one after another; CHATTERBOX names the binary; VERBOSE=1 shows passed tests too.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const wanted = process.argv.slice(2)
const FOLDERS = ['talk', 'conform', 'crash', 'faults', 'page']

function files() {
  const all = FOLDERS.flatMap(folder => {
    const dir = join(here, folder)
    return existsSync(dir) ? readdirSync(dir).filter(f => f.endsWith('.mjs') && f !== 'lib.mjs').sort().map(f => join(dir, f)) : []
  })
  if (!wanted.length) return all
  return all.filter(file => wanted.some(want => {
    const name = relative(here, file)
    return resolve(want) === file || name.startsWith(`${want}/`) || (!FOLDERS.includes(want) && name.includes(want))
  }))
}

const running = new Set()
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of running) child.kill('SIGTERM')
    process.exit(130)
  })
}

function run(file) {
  return new Promise(done => {
    const start = Date.now()
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] })
    running.add(child)
    const chunks = []
    child.stdout.on('data', chunk => chunks.push(chunk))
    child.on('close', (code, signal) => {
      running.delete(child)
      const text = Buffer.concat(chunks).toString()
      const end = /^# \S+: (\d+) passed, (\d+) failed/m.exec(text)
      let [passed, failed] = end ? [Number(end[1]), Number(end[2])] : [0, 0]
      if ((!end || code !== 0) && failed === 0) failed = 1
      const name = relative(here, file)
      console.log(`${failed ? 'FAILED' : 'passed'} ${name}: ${passed} passed, ${failed} failed (${((Date.now() - start) / 1000).toFixed(1)} s)`)
      if (failed && !end) console.log(`  ended with ${signal ?? code} before its summary`)
      if (failed || process.env.VERBOSE) console.log(text.replace(/^/gm, '  '))
      else for (const line of text.split('\n')) if (/# skipped:/.test(line)) console.log(`  ${line}`)
      done({ passed, failed })
    })
  })
}

const queue = files()
if (!queue.length) {
  console.log(`no test file fits ${wanted.join(' ')}`)
  process.exit(2)
}
const total = { passed: 0, failed: 0 }
const add = ({ passed, failed }) => { total.passed += passed; total.failed += failed }

const summary = resolve(here, '../build/unit/summary')
if (!wanted.length && existsSync(summary)) {
  for (const [, passed, failed] of readFileSync(summary, 'utf8').matchAll(/(\d+)\s+(\d+)/g)) add({ passed: +passed, failed: +failed })
}

// A browser and a timing of read marks disturb each other: page tests run alone.
const jobs = Number(process.env.JOBS || 2)
const alone = queue.filter(f => relative(here, f).startsWith('page'))
const beside = queue.filter(f => !alone.includes(f))
await Promise.all(Array.from({ length: jobs }, async () => {
  while (beside.length) add(await run(beside.shift()))
}))
for (const file of alone) add(await run(file))

console.log(`${total.passed} passed, ${total.failed} failed`)
process.exit(total.failed ? 1 : 0)
