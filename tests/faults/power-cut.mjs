// Promise: a power cut at any moment loses nothing that anybody was told of, at the default durability; at `normal` it may, and then the epoch is another.
// A server works under load while every change of its files, every sync and everything that it sends is written down (inject.cpp); from that record
// `store-tool power-cut` makes what the disk could hold at many points: only what was synced, or of the rest some writes, pages or sectors, folder
// entries too. It opens each as the server would and looks for what had been told. One sync fails on the way: what it should have written is then on the disk only
// if it is written again. POWER_CUTS=N: that many points for each of the four (`make power-cut`); SEED repeats the points, not the load.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { runProgram } from '../support/server.mjs'
import { online, register } from '../support/client.mjs'
import { SLOW, random, seed, test } from '../support/suite.mjs'
import { begin, directory, forget, storeTool } from './lib.mjs'

const cuts = Number(process.env.POWER_CUTS || 30)
const LONG = ' a text that fills a page soon'.repeat(30)

/** Says `numbers` of messages, some of them again as an edit, from two people at once; what is not known to be stored is said again. */
async function load(server, people, from, count) {
  await Promise.all(people.map(async (who, i) => {
    let socket = null
    const told = async (frame, fits) => {
      for (let tries = 0; tries < 20; tries++) {
        try {
          if (!socket || socket.isClosed) socket = await online(server, who)
          socket.send(frame)
          const f = await socket.next(fits, 4000)
          if (f.type === 'message') return f
          assert.equal(f.code, 'unavailable')
        } catch (error) { if (!socket?.isClosed && !/closed|ECONN|socket hang up|503/.test(error.message)) throw error }
      }
      throw new Error('it never took a message')
    }
    for (let n = 0; n < count; n++) {
      const number = from + 2 * n + i
      const f = await told({ type: 'message', text: `said:${number}.${LONG}`, nonce: `n${number}` }, x => x.nonce === `n${number}`)
      if (n % 7 === 3) await told({ type: 'edit', id: f.id, text: `edit:${number}.${LONG}`, ref: `e${number}` }, x => x.ref === `e${number}`)
    }
    await socket.close()
  }))
}

/** The load, a clean stop and a start in its middle, with one failing sync where `fault` says; then the cuts. */
async function cut({ args = [], fault, judged = 'full', again = true, messages = 150 }) {
  const dir = directory(), data = join(dir, 'data'), trace = join(data, 'trace')
  const env = { FAULT_TRACE: trace }
  const options = { env, args: ['--deflate', 'off', ...args] }
  let server = await begin(data, { ...options, fault })
  const people = [await register(server, 'alice'), await register(server, 'bob')]
  const { epoch } = await (async () => { const s = await online(server, people[0]); await s.close(); return s.welcome })()
  await load(server, people, 0, messages)
  const { hit } = server
  if (again) {
    assert.equal((await server.stop()).code, 0)
    server = await begin(data, options)
    await load(server, people, 10_000, Math.ceil(messages / 4))
  }
  await server.kill()
  const tool = await runProgram(storeTool, ['power-cut', trace, join(dir, 'image'), judged, epoch, String(seed), String(cuts)], { timeout: 600_000 * SLOW })
  const line = tool.stdout.trim().split('\n').at(-1)
  forget(dir)
  assert.ok(Number(/, (\d+) messages told/.exec(line)?.[1]) >= messages || tool.code !== 0, `too little was told: ${line}`)
  return { hit, code: tool.code, line, text: tool.stdout + tool.stderr }
}

const timeout = 30_000 + 200 * cuts

test('what was told survives a power cut', async () => {
  random.next() // so that the seed is printed
  const { code, line, text } = await cut({})
  assert.equal(code, 0, text)
  console.log(`# ${line}`)
}, { timeout })

test('also when a sync has failed before', async () => {
  const fault = `sync:${30 + random.below(80)}`
  const { hit, code, line, text } = await cut({ fault, again: false })
  assert.ok(hit, `${fault} was met`)
  assert.equal(code, 0, `${fault}: ${text}`)
  console.log(`# ${fault}: ${line}`)
}, { timeout })

test('at durability normal what is lost is lost under another epoch', async () => {
  const { code, line, text } = await cut({ args: ['--durability', 'normal'], judged: 'normal', again: false })
  assert.equal(code, 0, text)
  assert.ok(/ [1-9]\d* images without some of them/.test(line), `there was nothing to find: ${line}`)
  console.log(`# ${line}`)
}, { timeout })

test('this test finds a server that tells before it has synced', async () => {
  const { code, text } = await cut({ args: ['--durability', 'normal'], judged: 'full', again: false, messages: 60 })
  assert.equal(code, 1, text)
  assert.match(text, /was told of and is lost/)
}, { timeout })
