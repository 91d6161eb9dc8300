// `make flood`: each attack against a server of its own with good clients beside, ROUNDS=… times (3). Prints their p99 quiet and under attack, in the round whose
// ratio is the median, what the attackers were answered, and the server's highest memory beside the bound that it printed at its start. SECONDS=… for each half of a
// round (10), SCALE=… attackers (300), and a part of a name selects. Ends with an error when a good client was not served, an answer is missing, the median of the
// ratios is over RATIO=… (2), or the bound was passed. One round in which a shared machine stood still is no fault of the server's: where the median is over, twice as
// many rounds more are had, and it is the median of all that counts.

import { execFileSync, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { startServer } from '../support/server.mjs'
import { accomplices, attacks } from './attacks.mjs'
import { goodClients, p99 } from './good.mjs'
import { sleep } from '../support/suite.mjs'
import { bound, peak } from './memory.mjs'

const seconds = Number(process.env.SECONDS || 10), scale = Number(process.env.SCALE || 300)
const rounds = Number(process.env.ROUNDS || 3), ratioMax = Number(process.env.RATIO || 2)
const wanted = process.argv[2] ?? ''
const until = s => { const end = Date.now() + s * 1000; return () => Date.now() > end }
let bad = 0

// Attackers come from machines of their own: they have the last core to themselves, the server and the good clients the others. Were they to share one, it is the kernel's
// turns of 4 ms that would be measured (even at SCHED_IDLE, which a thread that has just woken up is not held to). Where there is one core, SCHED_IDLE must do.
const cores = availableParallelism()
const apart = cores > 1 ? ['taskset', '-c', cores - 1] : ['chrt', '--idle', '0']
if (cores > 1) execFileSync('taskset', ['-acp', `0-${cores - 2}`, process.pid])

/** The attack, from another process: the counts of its answers, and `over` to know when it is over. */
function attack(name, server, people) {
  const what = JSON.stringify({ name, server: { host: server.host, port: server.port, url: server.url }, seconds, scale, people })
  const child = spawn(apart[0], [...apart.slice(1), process.execPath, fileURLToPath(new URL('attacker.mjs', import.meta.url)), what], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = '', ended = false, begun
  const ready = new Promise(done => { begun = done })
  child.stdout.on('data', chunk => {
    text += chunk
    if (text.startsWith('ready\n')) begun()
  })
  const counts = new Promise(done => child.on('close', () => { ended = true; begun(); done(text ? JSON.parse(text.replace(/^ready\n/, '')) : {}) }))
  return { counts, ready, over: () => ended }
}

/** One round: `{quiet, under}` as p99 in ms, `memory`, `limit` and the attackers' `count` of answers. */
async function round(name, { args = [], prepares = false, room = false }) {
  const server = await startServer({ args: [...(args.length ? args : ['--max-sockets', '2000']), '--login-rate', '10', '--message-rate', '20/5', '--request-rate', '100/50', '--deflate', 'on', '--max-sockets-per-user', '2000'] })
  const people = await accomplices(server, 8), good = await goodClients(server, { n: 12, room })
  // A good client writes three messages a second, of the five that it may. Quiet is before and after, since the machine is not always the same; neither counts the
  // first seconds, in which the good clients' own code is still being compiled.
  await good.talk(until(seconds / 5), 25)
  const quiet = await good.talk(until(seconds / 2), 25)
  const by = attack(name, server, people.map(({ token }) => ({ token })))
  if (prepares) await by.ready
  const [under, count] = await Promise.all([good.talk(by.over, 25), by.counts])
  await sleep(1000)
  quiet.push(...await good.talk(until(seconds / 2), 25))
  const result = { quiet: p99(quiet), under: p99(under), ratio: p99(under) / p99(quiet), memory: peak(server), limit: bound(server), count }
  good.cut()
  await server.stop()
  return result
}

console.log(`${'attack'.padEnd(20)} p99 quiet  attacked  ratio (of each round)     peak MB  bound MB  answers`)
for (const [name, how] of Object.entries(attacks)) {
  if (!name.includes(wanted)) continue
  const all = []
  const middle = () => [...all].sort((a, b) => a.ratio - b.ratio)[(all.length - 1) >> 1]
  while (all.length < rounds) all.push(await round(name, how))
  if (!(middle().ratio <= ratioMax)) while (all.length < 3 * rounds) all.push(await round(name, how))
  const median = middle()
  const most = all.reduce((a, b) => b.memory / b.limit > a.memory / a.limit ? b : a)
  const faults = (how.must ?? []).filter(what => all.some(r => !r.count[what])).map(what => `no ${what}`)
  if (!(median.ratio <= ratioMax)) faults.push(`p99 is ${median.ratio.toFixed(1)} times the quiet one`)
  if (most.memory > most.limit) faults.push('more memory than the bound')
  const column = (n, digits = 1, width = 9) => n.toFixed(digits).padStart(width)
  console.log(`${name.padEnd(20)}${column(median.quiet, 1, 10)}${column(median.under, 1, 10)}${column(median.ratio, 1, 7)} ${`(${all.map(r => r.ratio.toFixed(1)).join(', ')})`.padEnd(20)}` +
    `${column(most.memory / 1e6)}${column(most.limit / 1e6, 0, 10)}  ${JSON.stringify(median.count)}`)
  for (const fault of faults) console.log(`not ok - ${name}: ${fault}`)
  bad += faults.length
}
process.exit(bad ? 1 : 0)
