// `make flood`: each attack against a server of its own with good clients beside. Prints their p99 quiet and under attack, what the attackers were
// answered, and the server's peak memory beside the bound that it printed at its start. SECONDS=… for each half (10), SCALE=… attackers (300),
// and a part of a name selects. Ends with an error when a good client was not served, an answer is missing, or the bound was passed.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { startServer } from '../support/server.mjs'
import { accomplices, attacks } from './attacks.mjs'
import { goodClients, p99 } from './good.mjs'
import { sleep } from '../support/suite.mjs'
import { bound, peak } from './memory.mjs'

const seconds = Number(process.env.SECONDS || 10), scale = Number(process.env.SCALE || 300)
const wanted = process.argv[2] ?? ''
const until = s => { const end = Date.now() + s * 1000; return () => Date.now() > end }
let bad = 0

/**
 * The attack, from another process: the counts of its answers, and `over` to know when it is over. It has what the server and the good clients leave of the
 * machine's cores (SCHED_IDLE): attackers come from machines of their own, and where they take a core from a good client it is that which would be measured.
 */
function attack(name, server, people) {
  const what = JSON.stringify({ name, server: { host: server.host, port: server.port, url: server.url }, seconds, scale, people })
  const child = spawn('chrt', ['--idle', '0', process.execPath, fileURLToPath(new URL('attacker.mjs', import.meta.url)), what], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = '', ended = false, begun
  const ready = new Promise(done => { begun = done })
  child.stdout.on('data', chunk => {
    text += chunk
    if (text.startsWith('ready\n')) begun()
  })
  const counts = new Promise(done => child.on('close', () => { ended = true; begun(); done(text ? JSON.parse(text.replace(/^ready\n/, '')) : {}) }))
  return { counts, ready, over: () => ended }
}
console.log(`${'attack'.padEnd(20)} p99 quiet  attacked  ratio   peak MB  bound MB  answers`)
for (const [name, { must = [], args = [], prepares = false, room = false }] of Object.entries(attacks)) {
  if (!name.includes(wanted)) continue
  const server = await startServer({ args: [...(args.length ? args : ['--max-sockets', '2000']), '--login-rate', '10', '--message-rate', '20/5', '--request-rate', '100/50', '--deflate', 'on', '--max-sockets-per-user', '2000'] })
  const people = await accomplices(server, 8), good = await goodClients(server, { n: 12, room })
  // A good client writes three messages a second, of the five that it may. Quiet is before and after, since the machine is not always the same.
  const quiet = await good.talk(until(seconds / 2), 25)
  const by = attack(name, server, people.map(({ token }) => ({ token })))
  if (prepares) await by.ready
  const [under, count] = await Promise.all([good.talk(by.over, 25), by.counts])
  await sleep(1000)
  quiet.push(...await good.talk(until(seconds / 2), 25))
  const missing = must.filter(what => !count[what])
  const row = [p99(quiet), p99(under), p99(under) / p99(quiet), peak(server) / 1e6, bound(server) / 1e6]
  console.log(`${name.padEnd(20)} ${row.map((n, i) => n.toFixed(i === 4 ? 0 : 1).padStart(9)).join('')}  ${JSON.stringify(count)}${missing.length ? `  MISSING ${missing}` : ''}`)
  if (missing.length || peak(server) > bound(server)) bad++
  good.cut()
  await server.stop()
}
process.exit(bad ? 1 : 0)
