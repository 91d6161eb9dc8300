// Changes one condition of src/chat, src/store or src/net at a time (drawn by SEED), in a copy of the tree, and looks whether the quick tests notice:
// unit tests, fuzz corpora, simulation, then a few conversations. Compiles one file, links one shared library, stops at the first test that fails. What
// does not compile, or compiles to the same bytes, does not count. Each verdict is kept in build/mutate/, so a run can be cut into pieces (FOR=seconds).
// Started by tools/mutate, which sees to it that a mutant reaches nothing and nobody outlives the run.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

const root = process.cwd(), home = join(root, 'build/mutate'), tree = join(home, 'tree')
const AREAS = ['chat', 'store', 'net'], COPIED = ['Makefile', 'src', 'assets', 'tests', 'tools']
const seed = Number(process.env.SEED || 1), count = Number(process.env.COUNT || 200)
const end = Date.now() + 1000 * Number(process.env.FOR || 1e6)
const only = new RegExp(process.env.FILES || '.')
let mutating = false // then the compiler's cache is left alone
const OUT = 'build/out', MAKE = ['KIND=mutate', `OUT=${OUT}`]

// ---------------------------------------------------------------- what can be changed

// [what is found, what takes its place]. Operators stand between blanks in this code, type arguments never do.
const CHANGES = [
  [/(?<=\s)==(?=\s)/g, '!='], [/(?<=\s)!=(?=\s)/g, '=='],
  [/(?<=\s)<(?=\s)/g, '<='], [/(?<=\s)<=(?=\s)/g, '<'], [/(?<=\s)>(?=\s)/g, '>='], [/(?<=\s)>=(?=\s)/g, '>'],
  [/(?<=\s)&&(?=\s)/g, '||'], [/(?<=\s)\|\|(?=\s)/g, '&&'],
  [/\btrue\b/g, 'false'], [/\bfalse\b/g, 'true'],
  [/(?<=\S )\+(?= )/g, '-'], [/(?<=\S )-(?= )/g, '+'], [/(?<=\s)\+=(?=\s)/g, '-='], [/(?<=\s)-=(?=\s)/g, '+='],
  [/(?<![\w)\]!])!(?=[\w(:])/g, ''],
  [/\b\w+_(max|min)\b(?!\s*[(=])/g, limit => `(${limit} - 1)`], [/\b\w+_(max|min)\b(?!\s*[(=])/g, limit => `(${limit} + 1)`],
]

// The text with comments and quotes blanked out, so that what is found in it is code and stands at the same place.
function codeOf(text) {
  const blank = part => part.replace(/[^\n]/g, ' ')
  return text.replace(/\/\/[^\n]*|\/\*[^]*?\*\/|R"\w*\([^]*?\)\w*"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'(?!\d)/g, blank)
    .replace(/^[ \t]*(#|static_assert|using|template)[^\n]*|CB_ASSERT[^\n]*|\blog_(error|warn|info|debug)\([^\n]*/gm, blank)
}

function candidates() {
  const list = []
  for (const file of AREAS.flatMap(area => readdirSync(`src/${area}`).sort().filter(f => f.endsWith('.cpp')).map(f => `src/${area}/${f}`))) {
    const text = readFileSync(file, 'utf8'), code = codeOf(text)
    for (const [what, by] of CHANGES) {
      for (const found of code.matchAll(what)) {
        const to = typeof by === 'string' ? by : by(found[0])
        list.push({ file, at: found.index, from: found[0], to, line: text.slice(0, found.index).split('\n').length })
      }
    }
  }
  return list
}

function shuffled(list) { // mulberry32, as in tests/support/suite.mjs
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]]
  }
  return list
}

// ---------------------------------------------------------------- programs

// Bounds for a mutant: seconds of processor, of the clock, 4 GB of data, files of 1 GB.
function run(program, args, { cpu = 100, clock = 300, env = {} } = {}) {
  const line = ['-c', `ulimit -t ${Math.ceil(cpu)}; ulimit -d 4000000; ulimit -f 2000000; exec "$@"`, 'sh', program, ...args]
  const done = spawnSync('/bin/sh', line, { cwd: tree, timeout: clock * 1000, killSignal: 'SIGKILL', maxBuffer: 1 << 26, env: { ...process.env, ...env } })
  sweep()
  return { good: done.status === 0, text: `${done.stdout}${done.stderr}`, how: done.error?.code === 'ETIMEDOUT' ? 'timeout' : done.signal ?? `status ${done.status}` }
}

// Nobody but this process and its parents lives here between two programs: what a mutant left behind ends.
function sweep() {
  const keep = new Set(['1', 'self', String(process.pid), String(process.ppid)])
  for (const name of readdirSync('/proc')) if (/^\d+$/.test(name) && !keep.has(name)) try { process.kill(Number(name), 'SIGKILL') } catch { /* it has ended */ }
}

const make = (...targets) => run('make', [...MAKE, ...targets], { cpu: 1000, clock: 1000, env: { CCACHE_DISABLE: mutating ? '1' : undefined } })

// What a test program includes when it can reach the code of an area.
const REACH = { chat: /"(chat|web)\/|(chat|web)_(world|fuzz)[.]h/, store: /"store\/|(store|chat|web)_world[.]h|chat_fuzz[.]h/, net: /"(net|web)\/|(net|web)_(world|fuzz)[.]h|chat_fuzz[.]h/ }
const TALK = { chat: ['chat', 'unread', 'stop-words'], store: ['messages-http', 'resume', 'sessions'], net: ['http-smuggling', 'frames', 'small-doors'] }

/** The tests in the order in which they are tried for a change of `file`: its own first, then the quickest. */
function steps(file, took) {
  const area = file.split('/')[1], stem = basename(file, '.cpp')
  const near = name => name.includes(stem) || stem.startsWith(name) || (area === 'store' && name.startsWith('store'))
  const units = ['tests/unit', 'tests/fuzz'].flatMap(dir => readdirSync(join(tree, dir)).filter(f => /^(test|fuzz)_.*[.]cpp$/.test(f))
    .filter(f => REACH[area].test(readFileSync(join(tree, dir, f), 'utf8')))).map(f => basename(f, '.cpp'))
    .map(name => ({ name, program: `./${OUT}/unit/${name}`, args: [], near: near(name.slice(5)) }))
  const sim = [
    { name: 'sim', program: `./${OUT}/sim/run`, args: ['-n', '60', '1', '150'], made: true, skip: area === 'store' },
    { name: 'differ', program: `./${OUT}/sim/differ`, args: ['3', '1', '300'], skip: area !== 'store' },
  ].filter(step => !step.skip)
  const talk = TALK[area].map(name => ({
    name: `talk ${name}`, program: 'node', args: ['tests/run.mjs', `talk/${name}.mjs`], twice: true, env: { SLOW: '2', CHATTERBOX: join(tree, OUT, 'chatterbox') },
  }))
  const ms = step => took?.[step.name] ?? 0
  return [...units.sort((a, b) => b.near - a.near || ms(a) - ms(b)), ...sim, ...talk]
}

const attempt = (step, took) => run(step.program, step.args, { env: step.env, cpu: Math.max(10, took / 100), clock: Math.round(Math.max(20, took / 50)) })

// ---------------------------------------------------------------- the copy

function copyTree() {
  mkdirSync(join(tree, 'build'), { recursive: true })
  for (const part of ['deps', 'npm']) {
    rmSync(join(tree, 'build', part), { force: true })
    symlinkSync(join(root, 'build', part), join(tree, 'build', part))
  }
  const walk = path => {
    if (statSync(path).isDirectory()) {
      mkdirSync(join(tree, path), { recursive: true })
      const there = new Set(readdirSync(path))
      for (const old of readdirSync(join(tree, path))) if (!there.has(old)) rmSync(join(tree, path, old), { recursive: true })
      for (const name of there) walk(join(path, name))
    } else if (!existsSync(join(tree, path)) || !readFileSync(path).equals(readFileSync(join(tree, path)))) cpSync(path, join(tree, path))
  }
  COPIED.forEach(walk)
  const made = make('all', 'unit-programs')
  if (!made.good) fail(`the copy does not build:\n${made.text.slice(-3000)}`)
}

function fail(what) {
  console.error(`mutate: ${what}`)
  process.exit(1)
}

/** Every test passes on the code as it is; how long each took, in ms. Done once for one state of the tree. */
function baseline() {
  const print = createHash('sha1')
  const walk = path => { if (statSync(path).isDirectory()) readdirSync(path).sort().forEach(name => walk(join(path, name))); else print.update(path).update(readFileSync(path)) }
  for (const part of ['Makefile', 'src', 'assets', 'tests']) walk(part)
  const keep = join(home, 'baseline.json'), state = print.digest('hex')
  const old = existsSync(keep) ? JSON.parse(readFileSync(keep)) : {}
  const took = old.state === state ? old.took : {}
  for (const area of AREAS) {
    for (const step of steps(`src/${area}/x.cpp`)) {
      if (took[step.name] !== undefined) continue
      if (Date.now() > end) process.exit(0)
      const start = Date.now(), done = attempt(step, 60_000)
      if (!done.good && !(step.twice && attempt(step, 60_000).good)) fail(`${step.name} fails without a change (${done.how}):\n${done.text.slice(-3000)}`)
      took[step.name] = Date.now() - start
      writeFileSync(keep, JSON.stringify({ state, took }))
    }
  }
  return took
}

// ---------------------------------------------------------------- one mutant

/** Who noticed it; '' when nobody did; null when it does not count. */
function judge(m, took) {
  const source = join(tree, m.file), object = join(tree, OUT, m.file.replace('src/', 'obj/').replace('.cpp', '.o'))
  const simObject = join(tree, OUT, m.file.replace('src/', 'sim/code/').replace('.cpp', '.o'))
  const text = readFileSync(m.file, 'utf8')
  // All that is made from the mutant, to be put back with its times, so that make sees nothing new.
  const made = [object, simObject, join(tree, OUT, 'obj/libchatterbox.so'), join(tree, OUT, 'sim/run')].filter(existsSync)
  const times = new Map([source, ...made].map(file => [file, statSync(file)]))
  made.forEach((file, i) => copyFileSync(file, join(home, `saved-${i}`)))
  const putBack = file => utimesSync(file, times.get(file).atime, times.get(file).mtime)
  mutating = true
  try {
    writeFileSync(source, text.slice(0, m.at) + m.to + text.slice(m.at + m.from.length))
    if (!make(`${OUT}/obj/libchatterbox.so`).good) return null
    if (readFileSync(object).equals(readFileSync(join(home, 'saved-0')))) return null
    for (const step of steps(m.file, took)) {
      if (step.made && !make(`${OUT}/sim/run`).good) return null // it compiles with the real limits and not with the small ones
      let done = attempt(step, took[step.name])
      if (!done.good && step.twice) done = attempt(step, took[step.name])
      if (!done.good) return `${step.name}${done.how === 'status 1' ? '' : ` (${done.how})`}`
    }
    return ''
  } finally {
    mutating = false
    made.forEach((file, i) => {
      rmSync(file, { force: true }) // a mutant that was stopped may still be ending, and a program that runs cannot be written over
      copyFileSync(join(home, `saved-${i}`), file)
      putBack(file)
    })
    // The source last: were this cut short, the next run would find it changed, and make it anew with all that hangs on it.
    writeFileSync(source, text)
    putBack(source)
    for (const left of readdirSync('/tmp')) if (!root.startsWith(`/tmp/${left}`)) rmSync(join('/tmp', left), { recursive: true, force: true })
  }
}

function say(m, by, ms) {
  const where = by ? `by ${by}` : `in: ${readFileSync(m.file, 'utf8').split('\n')[m.line - 1].trim()}`
  console.log(`${by ? 'noticed ' : 'SURVIVED'} ${m.file}:${m.line}  ${m.from} → ${m.to || '(nothing)'}  ${where}${ms ? `  (${(ms / 1000).toFixed(1)} s)` : ''}`)
}

process.chdir(root)
const all = shuffled(candidates().filter(m => only.test(m.file)))
const sources = createHash('sha1').update(AREAS.flatMap(a => readdirSync(`src/${a}`).sort().map(f => readFileSync(`src/${a}/${f}`))).join('')).digest('hex').slice(0, 8)
mkdirSync(home, { recursive: true })
const record = join(home, `verdicts-${seed}-${sources}${process.env.FILES ? `-${process.env.FILES.replace(/\W/g, '_')}` : ''}`)
const known = new Map(existsSync(record) ? readFileSync(record, 'utf8').trim().split('\n').map(line => line.split('\t')).map(([id, by]) => [id, by]) : [])
copyTree()
const took = baseline()
make(`${OUT}/obj/libchatterbox.so`, `${OUT}/sim/run`)
let tried = 0, seconds = 0
const verdicts = []
for (const m of all) {
  if (verdicts.length >= count) break
  const id = `${m.file}:${m.at}:${m.from}:${m.to}`
  let by = known.get(id)
  if (by === undefined || (process.env.AGAIN && by === 'survived')) {
    if (Date.now() > end) {
      console.log(`mutate: ${verdicts.length} of ${count} so far; again goes on`)
      process.exit(0)
    }
    const start = Date.now(), who = judge(m, took)
    by = who === null ? 'no' : who || 'survived'
    appendFileSync(record, `${id}\t${by}\n`)
    tried++
    seconds += (Date.now() - start) / 1000
    if (by !== 'no') say(m, who, Date.now() - start)
  }
  if (by !== 'no') verdicts.push({ m, by })
}

if (tried) console.log(`mutate: ${tried} tried now, ${(seconds / tried).toFixed(1)} s each`)
for (const area of AREAS) {
  const of = verdicts.filter(v => v.m.file.startsWith(`src/${area}/`)), noticed = of.filter(v => v.by !== 'survived').length
  console.log(`mutate: src/${area}: ${noticed} of ${of.length} noticed`)
}
console.log('mutate: survivors:')
for (const v of verdicts) if (v.by === 'survived') say(v.m, '')
const noticed = verdicts.filter(v => v.by !== 'survived').length
console.log(`mutate: SEED=${seed}: ${noticed} of ${verdicts.length} noticed (${(100 * noticed / verdicts.length).toFixed(1)} %, wanted 85 %), drawn from ${all.length}`)
process.exit(noticed >= 0.85 * verdicts.length ? 0 : 1)
