// Flips one condition of src/chat, src/store or src/net at a time (drawn by SEED), in a copy of the tree, and looks whether the quick tests notice: unit tests,
// fuzz corpora, simulation, then a few conversations. All is built with AddressSanitizer. Compiles one file, links one shared library, runs only what reaches the
// line (gcov, once for each state of the tree), the nearest and quickest first, and stops at the first test that fails. What does not compile, or compiles to the
// same bytes, does not count. EDGES=1 draws what is harder to see instead: bounds one off, sums, stored flags. Each verdict is kept in build/mutate/ under the text of
// the line and of its neighbours, so that a run can be cut into pieces (FOR=seconds) and other people's changes leave it alone.
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
const edges = Boolean(process.env.EDGES)
let mutating = false // then the compiler's cache is left alone
const OUT = 'build/out', COV = 'build/cov'
const sha = text => createHash('sha1').update(text).digest('hex').slice(0, 16)

// ---------------------------------------------------------------- what can be changed

// [what is found, what takes its place]. Operators stand between blanks in this code, type arguments never do.
const op = text => new RegExp(`(?<=\\s)${text.replace(/[|+]/g, '\\$&')}(?=\\s)`, 'g')
const FLIPS = [
  [op('=='), '!='], [op('!='), '=='], [op('<'), '>='], [op('>='), '<'], [op('>'), '<='], [op('<='), '>'], [op('&&'), '||'], [op('||'), '&&'],
  [/(?<![\w)\]!])!(?=[\w(:])/g, ''], [/(?<=\breturn )true(?=;)/g, 'false'], [/(?<=\breturn )false(?=;)/g, 'true'],
]
const EDGES = [
  [op('<'), '<='], [op('<='), '<'], [op('>'), '>='], [op('>='), '>'], [/(?<!\breturn )\btrue\b/g, 'false'], [/(?<!\breturn )\bfalse\b/g, 'true'],
  [/(?<=\S )\+(?= )/g, '-'], [/(?<=\S )-(?= )/g, '+'], [op('+='), '-='], [op('-='), '+='],
  [/\b\w+_(max|min)\b(?!\s*[(=])/g, limit => `(${limit} - 1)`], [/\b\w+_(max|min)\b(?!\s*[(=])/g, limit => `(${limit} + 1)`],
]

// Where the bracket that opens at `at` closes.
function closing(code, at) {
  for (let depth = 0; at < code.length; at++) {
    if (code[at] === '(') depth++
    else if (code[at] === ')' && --depth === 0) return at
  }
  return -1
}

// Conditions without an operator of FLIPS: all of an `if` or `while`, or what stands before a `?`; [begin, end, negated].
function bareConditions(code) {
  const list = [], plain = text => text && !/\s(==|!=|<|>|<=|>=|&&|\|\|)\s|^!/.test(text)
  for (const found of code.matchAll(/\b(if|while) \(/g)) {
    const begin = found.index + found[0].length, stop = closing(code, begin - 1), all = code.slice(begin, stop), cut = all.lastIndexOf(';') + 1
    const what = all.slice(cut).trim(), at = begin + cut + all.slice(cut).search(/\S/)
    const declared = cut ? null : /^[\w:]+[ *]+(\w+) = /.exec(what)
    if (plain(what)) list.push([at, at + what.length, declared ? `${what}; !${declared[1]}` : `!(${what})`])
  }
  for (const found of code.matchAll(/ \? /g)) {
    let at = found.index, depth = 0
    for (; at > 0 && depth >= 0; at--) {
      const c = code[at - 1]
      if (c === ')' || c === ']') depth++
      else if (c === '(' || c === '[') depth--
      else if (!depth && (/[,;{}?]/.test(c) || code.slice(at - 3, at) === ' = ' || code.slice(at - 3, at) === ' : ')) break
      if (depth < 0) break
    }
    const raw = code.slice(at, found.index), lead = /^\s*(return\s+)?/.exec(raw)[0].length, what = raw.slice(lead)
    if (plain(what)) list.push([at + lead, found.index, `!(${what})`])
  }
  return list
}

// The text with comments and quotes blanked out, so that what is found in it is code and stands at the same place.
function codeOf(text) {
  const blank = part => part.replace(/[^\n]/g, ' ')
  return text.replace(/\/\/[^\n]*|\/\*[^]*?\*\/|R"\w*\([^]*?\)\w*"|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'(?!\d)/g, blank)
    .replace(/^[ \t]*(#|static_assert|using|template)[^\n]*|CB_ASSERT[^\n]*|\blog_(error|warn|info|debug)\([^\n]*/gm, blank)
}

// In the order of the draw: by a hash of the seed and of what names the change, which is its line, the lines around it and its place there, but not its file and
// not the line's number. So the order, and the verdicts, outlive changes of other lines and files that are divided.
function draw() {
  const list = [], seen = new Map()
  for (const file of AREAS.flatMap(area => readdirSync(`src/${area}`).sort().filter(f => f.endsWith('.cpp')).map(f => `src/${area}/${f}`))) {
    const text = readFileSync(file, 'utf8'), code = codeOf(text), lines = text.split('\n').map(line => line.trim())
    const add = (at, from, to) => {
      const before = text.slice(0, at).split('\n'), line = before.length
      const place = [file.split('/')[1], ...lines.slice(Math.max(0, line - 2), line + 1), before.at(-1).trimStart().length, from, to].join('\n')
      seen.set(place, (seen.get(place) ?? 0) + 1)
      const id = sha(`${place}\n${seen.get(place)}`)
      list.push({ file, at, from, to, line, id, order: sha(`${seed} ${id}`) })
    }
    for (const [what, by] of edges ? EDGES : FLIPS) for (const found of code.matchAll(what)) add(found.index, found[0], typeof by === 'string' ? by : by(found[0]))
    if (!edges) for (const [begin, stop, to] of bareConditions(code)) add(begin, text.slice(begin, stop), to)
  }
  return list.sort((a, b) => (a.order < b.order ? -1 : 1))
}

// ---------------------------------------------------------------- programs

// Bounds for a mutant: seconds of processor, of the clock, 3 GB of memory, files of 1 GB.
function run(program, args, { cpu = 1000, clock = 1000, env = {} } = {}) {
  const line = ['-c', `ulimit -t ${Math.ceil(cpu)}; ulimit -f 2000000; exec "$@"`, 'sh', program, ...args]
  const bounds = { ASAN_OPTIONS: 'hard_rss_limit_mb=3000:max_allocation_size_mb=3000' }
  const done = spawnSync('/bin/sh', line, { cwd: tree, timeout: clock * 1000, killSignal: 'SIGKILL', maxBuffer: 1 << 28, env: { ...process.env, ...bounds, ...env } })
  sweep()
  return { good: done.status === 0, text: `${done.stdout}${done.stderr}`, how: done.error?.code === 'ETIMEDOUT' ? 'timeout' : done.signal ?? `status ${done.status}` }
}

// Nobody but this process and its parents lives here between two programs: what a mutant left behind ends.
function sweep() {
  const keep = new Set(['1', 'self', String(process.pid), String(process.ppid)])
  for (const name of readdirSync('/proc')) if (/^\d+$/.test(name) && !keep.has(name)) try { process.kill(Number(name), 'SIGKILL') } catch { /* it has ended */ }
}

const makeIn = (kind, out, targets) => run('make', [`KIND=${kind}`, `OUT=${out}`, ...targets], { env: { CCACHE_DISABLE: mutating ? '1' : undefined } })
const make = (...targets) => makeIn('mutate', OUT, targets)

// What a test program includes when it can reach the code of an area.
const REACH = { chat: /"(chat|web)\/|(chat|web)_(world|fuzz)[.]h/, store: /"store\/|(store|chat|web)_world[.]h|chat_fuzz[.]h/, net: /"(net|web)\/|(net|web)_(world|fuzz)[.]h|chat_fuzz[.]h/ }
const TALK = {
  chat: ['talk/chat', 'talk/unread', 'talk/stop-words', 'talk/rooms', 'talk/nonce', 'talk/register-and-login', 'talk/resume', 'talk/sessions'],
  store: ['talk/messages-http', 'talk/resume', 'talk/sessions', 'talk/nonce', 'crash/unclean-normal', 'crash/disk-full', 'faults/damaged', 'faults/reserve', 'faults/power-cut'],
  net: ['talk/http-smuggling', 'talk/frames', 'talk/small-doors', 'talk/http-hygiene', 'talk/deflate', 'conform/http', 'conform/ws'],
}
const PROGRAMS = ['chatterbox', 'tests/chatterbox-faults', 'tests/store-tool'] // what conversations start

/** The quick tests that can reach an area. `from` are the files whose change can change what a test does; `needs` is made before it runs on a mutant. */
function steps(area) {
  const units = ['tests/unit', 'tests/fuzz'].flatMap(dir => readdirSync(dir).filter(f => /^(test|fuzz)_.*[.]cpp$/.test(f))
    .filter(f => REACH[area].test(readFileSync(join(dir, f), 'utf8'))).map(f => ({
      name: basename(f, '.cpp'), program: out => `./${out}/unit/${basename(f, '.cpp')}`, args: [],
      from: [join(dir, f), ...readdirSync(dir).filter(other => /[.]h$|world/.test(other)).map(other => join(dir, other))],
    })))
  const sim = area === 'store' ? { name: 'differ', args: ['3', '1', '300'] } : { name: 'sim', args: ['-n', '60', '1', '150'], needs: ['sim/run'] }
  const talk = TALK[area].map(name => ({
    name, program: () => 'node', args: ['tests/run.mjs', `${name}.mjs`], twice: true, needs: name.startsWith('faults') ? PROGRAMS.slice(1) : [], from: ['tests/run.mjs', 'tests/support', `tests/${name}.mjs`],
    env: out => ({ SLOW: '2', CHATTERBOX: join(tree, out, 'chatterbox') }),
  }))
  return [...units, { ...sim, program: out => `./${out}/sim/${area === 'store' ? 'differ' : 'run'}`, from: ['tests/sim'] }, ...talk]
}

const attempt = (step, out, took) => run(step.program(out), step.args, { env: step.env?.(out), cpu: Math.max(5, took / 150), clock: Math.round(Math.max(15, took / 60)) })

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
  const built = ['all', 'unit-programs', 'fault-programs', 'ws-echo']
  for (const made of [make(...built), makeIn('coverage', COV, built)]) if (!made.good) fail(`the copy does not build:\n${made.text.slice(-3000)}`)
}

function fail(what) {
  console.error(`mutate: ${what}`)
  process.exit(1)
}

const print = paths => {
  const sum = createHash('sha1')
  const walk = path => { if (statSync(path).isDirectory()) readdirSync(path).sort().forEach(name => walk(join(path, name))); else sum.update(path).update(readFileSync(path)) }
  paths.forEach(walk)
  return sum.digest('hex')
}

/** What a test reaches, by gcov: for each source of the areas the lines that it can say something of, with whether they were run. */
function reached(step) {
  const objects = ['obj', 'sim/code'].flatMap(dir => AREAS.map(area => join(tree, COV, dir, area))).filter(existsSync)
  const data = () => objects.flatMap(dir => readdirSync(dir).filter(f => f.endsWith('.gcda')).map(f => join(dir, f)))
  for (const file of data()) rmSync(file)
  attempt(step, COV, 120_000)
  const lines = {}
  if (!data().length) return lines
  const told = spawnSync('gcov', ['--json-format', '--stdout', ...data()], { cwd: tree, maxBuffer: 1 << 30, encoding: 'utf8' })
  for (const text of told.stdout.split('\n').filter(Boolean)) {
    for (const { file, lines: of } of JSON.parse(text).files) {
      if (!/^src\/(chat|store|net)\/.*[.]cpp$/.test(file)) continue
      const known = lines[file] ??= {}
      for (const { line_number: line, count: times } of of) known[line] = known[line] || times > 0 ? 1 : 0
    }
  }
  return lines
}

/** Every test passes on the code as it is; how long each took, in ms, and what it reaches. Done once for one state of the tree. */
function baseline() {
  const keep = join(home, 'baseline.json'), known = existsSync(keep) ? JSON.parse(readFileSync(keep)) : {}, now = {}, code = print(['Makefile', 'src'])
  for (const step of AREAS.flatMap(steps)) {
    if (now[step.name]) continue
    const state = sha(code + print(step.from.filter(existsSync)))
    if (known[step.name]?.state !== state) {
      if (Date.now() > end) process.exit(0)
      const start = Date.now(), done = attempt(step, OUT, 60_000)
      if (!done.good && !(step.twice && attempt(step, OUT, 60_000).good)) fail(`${step.name} fails without a change (${done.how}):\n${done.text.slice(-3000)}`)
      known[step.name] = { state, took: Date.now() - start, lines: reached(step) }
      writeFileSync(keep, JSON.stringify(known))
    }
    now[step.name] = known[step.name]
  }
  return now
}

// ---------------------------------------------------------------- one mutant

/** Does this test run the line? Where gcov has nothing on it, the statement has begun above. Of a test that works in forked processes it knows nothing. */
function reaches({ lines }, m) {
  const of = lines[m.file]
  if (!Object.values(lines).some(run => Object.values(run).includes(1))) return true
  for (let line = m.line; of && line > m.line - 8; line--) if (of[line] !== undefined) return of[line] === 1
  return false
}

/** The tests in the order in which they are tried: those of the changed file first, then programs before conversations, the quickest first. */
function chosen(m, known) {
  const [, area, name] = m.file.split('/'), stem = basename(name, '.cpp'), all = steps(area)
  const near = step => step.name.includes(stem) || stem.startsWith(step.name.slice(5))
  const reaching = all.filter(step => reaches(known[step.name], m))
  const rank = step => (step.twice ? 2 : near(step) && known[step.name].took < 4000 ? 0 : 1)
  return (reaching.length ? reaching : all.filter(near)).sort((a, b) => rank(a) - rank(b) || known[a.name].took - known[b.name].took)
}

/** Who noticed it; '' when nobody did; null when it does not count. */
function judge(m, known) {
  const source = join(tree, m.file), object = join(tree, OUT, m.file.replace('src/', 'obj/').replace('.cpp', '.o'))
  const simObject = join(tree, OUT, m.file.replace('src/', 'sim/code/').replace('.cpp', '.o'))
  const text = readFileSync(m.file, 'utf8')
  // All that is made from the mutant, to be put back with its times, so that make sees nothing new.
  const made = [object, simObject, ...['obj/libchatterbox.so', 'sim/run', ...PROGRAMS].map(name => join(tree, OUT, name))].filter(existsSync)
  const times = new Map([source, ...made].map(file => [file, statSync(file)]))
  made.forEach((file, i) => copyFileSync(file, join(home, `saved-${i}`)))
  const putBack = file => utimesSync(file, times.get(file).atime, times.get(file).mtime)
  mutating = true
  try {
    writeFileSync(source, text.slice(0, m.at) + m.to + text.slice(m.at + m.from.length))
    if (!make(`${OUT}/obj/libchatterbox.so`).good) return null
    if (readFileSync(object).equals(readFileSync(join(home, 'saved-0')))) return null
    for (const step of chosen(m, known)) {
      if (step.needs?.length && !make(...step.needs.map(name => `${OUT}/${name}`)).good) return null // it compiles with the real limits and not with the small ones
      let done = attempt(step, OUT, known[step.name].took)
      if (!done.good && step.twice) done = attempt(step, OUT, known[step.name].took)
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

mkdirSync(home, { recursive: true })
const record = join(home, 'verdicts')
const verdict = new Map(existsSync(record) ? readFileSync(record, 'utf8').trim().split('\n').map(line => line.split('\t')).map(([id, by, , , state]) => [id, { by, state }]) : [])
copyTree()
process.chdir(tree) // what happens to the real one from now on is the next run's
const all = draw().filter(m => only.test(m.file))
const known = baseline(), present = print(['Makefile', 'src', 'tests'])
make(`${OUT}/obj/libchatterbox.so`, `${OUT}/sim/run`)
let tried = 0, seconds = 0
const verdicts = []
for (const m of all) {
  if (verdicts.length >= count) break
  let { by, state } = verdict.get(m.id) ?? {}
  if (by === undefined || (process.env.AGAIN && by === 'survived' && state !== present)) {
    if (Date.now() > end) {
      console.log(`mutate: ${verdicts.length} of ${count} so far; again goes on`)
      process.exit(0)
    }
    const start = Date.now(), who = judge(m, known)
    by = who === null ? 'no' : who || 'survived'
    appendFileSync(record, `${m.id}\t${by}\t${m.file}\t${m.from} → ${m.to}\t${present}\n`)
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
console.log(`mutate: SEED=${seed}${edges ? ' EDGES=1' : ''}: ${noticed} of ${verdicts.length} noticed (${(100 * noticed / verdicts.length).toFixed(1)} %, wanted 85 %), drawn from ${all.length}`)
process.exit(noticed >= 0.85 * verdicts.length ? 0 : 1)
