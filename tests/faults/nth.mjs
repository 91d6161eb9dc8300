// Promise: when the n-th allocation, SQLite step, read, write, fsync, open, accept, thread start or password hash fails, nothing acknowledged is lost or
// doubled, what fails is answered with an error, and the server goes on: but for memory of its own, where it ends with one clear line, and for
// what it needs to start, where it says so and ends with 1. A short conversation runs for each n until a run meets no fault any more, and says which.
// FAULTS=all: every n (`make faults`), with PART=3/20 the third of twenty parts of them; else a few of each kind. FAULTS=sync:7 runs one,
// FAULTS=step:7=13late one of a kind that has a code.

import assert from 'node:assert/strict'
import { binary, runProgram } from '../support/server.mjs'
import { http, online } from '../support/client.mjs'
import { SLOW, sleep, test, within } from '../support/suite.mjs'
import { begin, directory, forget, soundAfter } from './lib.mjs'

const PASSWORD = 'correct horse battery'
const wanted = process.env.FAULTS ?? ''
const [part, parts] = (process.env.PART ?? '1/1').split('/').map(Number)

// What may fail a request, and nothing else may.
const CODES = new Set(['unavailable', 'storage_full', 'overloaded'])

/** A full disk is asked for room once a second. */
const pause = code => sleep(code === 'storage_full' ? 200 : 10)

/** Tries until the answer is one of `good`: a single fault passes, and a client tries again. */
async function insist(server, method, path, options, good) {
  for (let i = 0; ; i++) {
    const res = await http(server, method, path, options).catch(error => ({ status: 0, error }))
    if (good.includes(res.status)) return res
    if (server.exit || i === 8) throw Object.assign(new Error(`${method} ${path}: ${res.status} ${res.text ?? res.error}`), { refused: true })
    if (res.status) assert.ok([503, 507].includes(res.status) && CODES.has(res.json.error), `${method} ${path} gave ${res.status} ${res.text}`)
    await pause(res.json?.error)
  }
}

async function person(server, username) {
  const made = await insist(server, 'POST', '/api/register', { json: { username, password: PASSWORD } }, [201, 409])
  if (made.status === 201) return made.json
  return (await insist(server, 'POST', '/api/login', { json: { username, password: PASSWORD } }, [200])).json
}

async function connected(server, who, options) {
  for (let i = 0; ; i++) {
    try { return await online(server, who, options) } catch (error) {
      if (server.exit || i === 8) throw error
      await sleep(10)
    }
  }
}

/** Says each text until it is acknowledged, on whatever connection there is. */
async function say(server, state, texts, more = {}) {
  let left = texts
  for (let i = 0; left.length; i++) {
    if (server.exit || i === 12) throw new Error(`could not say ${left}`)
    if (!state.socket || state.socket.isClosed) state.socket = await connected(server, state.who, { deflate: true })
    const socket = state.socket
    for (const text of left) {
      state.sent.add(text)
      socket.send({ type: 'message', text, nonce: text.slice(0, 9), ...more })
    }
    const answers = await Promise.all(left.map(text => socket.next(f => f.nonce === text.slice(0, 9), 4000).catch(() => null)))
    answers.forEach((f, at) => {
      if (f?.type === 'message' && f.room === 1) { state.told.add(left[at]); state.ids.set(left[at], f.id) }
      if (f?.type === 'error') assert.ok(CODES.has(f.code), `an error that says nothing true: ${JSON.stringify(f)}`)
    })
    left = left.filter((_, at) => answers[at]?.type !== 'message')
    if (left.length) await pause(answers.find(f => f?.type === 'error')?.code)
  }
}

async function asked(server, state, frame, good) {
  for (let i = 0; ; i++) {
    if (server.exit || i === 12) throw new Error(`could not ask ${JSON.stringify(frame)}`)
    if (state.socket.isClosed) state.socket = await connected(server, state.who, { deflate: true })
    const answer = await state.socket.ask(frame, 4000).catch(() => null)
    if (answer?.type === 'error') assert.ok(CODES.has(answer.code), JSON.stringify(answer))
    if (answer && good(answer)) return answer
    await pause(answer?.code)
  }
}

async function conversation(server, state) {
  state.who = await person(server, 'alice')
  const bob = await person(server, 'bob')
  const listener = await connected(server, bob)
  await say(server, state, ['said:1.', 'said:2.', 'said:3.'])
  await say(server, state, [`said:4. ${'long and long '.repeat(200)}`.trim()])
  // Until the answer comes it may be the one or the other.
  state.told.delete('said:1.')
  state.told.add('said:1.|edit:1.')
  await asked(server, state, { type: 'edit', id: state.ids.get('said:1.'), text: 'edit:1.' }, f => f.type === 'message')
  state.told.delete('said:1.|edit:1.')
  state.told.add('edit:1.')
  state.sent.add('edit:1.')
  await asked(server, state, { type: 'history', room: 1, limit: 10 }, f => f.type === 'history')
  // `unavailable` was "not known to be done": then it may be there already.
  const name = `Room ${state.rooms++}`
  const made = await insist(server, 'POST', '/api/rooms', { token: state.who.token, json: { name } }, [201, 409])
  const room = made.status === 201 ? made.json.room
    : (await insist(server, 'GET', '/api/rooms', { token: state.who.token }, [200])).json.rooms.find(r => r.name === name)
  await say(server, state, ['elsewhere'], { room: room.id })
  await insist(server, 'GET', '/api/rooms/1/messages', { token: state.who.token }, [200])
  await insist(server, 'GET', '/api/me/sessions', { token: state.who.token }, [200])
  await insist(server, 'GET', '/healthz', {}, [200])
  await insist(server, 'GET', '/login', { headers: { 'Accept-Encoding': 'identity' } }, [200])
  // A wrong password is never taken for a right one, and a right one never for a wrong one.
  await insist(server, 'POST', '/api/login', { json: { username: 'alice', password: 'not the password' } }, [401])
  await insist(server, 'POST', '/api/login', { json: { username: 'alice', password: PASSWORD } }, [200])
  listener.cut()
  const block = await runProgram(binary, ['user', 'block', '--data', server.data, 'bob'])
  if (block.code !== 0) assert.match(block.stderr, /^chatterbox: .{10}/, 'a command that fails says why')
  await say(server, state, ['said:5.'])
}

/** One run with one fault. True when the fault was met. */
async function run(fault, mayAbort, env = {}) {
  const dir = directory(), data = `${dir}/data`
  const state = { sent: new Set(['edit:1.', 'elsewhere']), told: new Set(), ids: new Map(), rooms: 1 }
  const server = await begin(data, { fault, env })
  const aborted = () => server.exit?.signal === 'SIGABRT' && /^chatterbox: (stopped: )?out of memory$/m.test(server.text)
  try {
    if (server.exit && !server.port) {
      const says = server.exit.code === 1 && /^chatterbox: .{10}/m.test(server.text)
      assert.ok(says || (mayAbort && aborted()), `a start that fails says why and ends with 1: ${JSON.stringify(server.exit)}`)
    } else {
      try {
        await within(30_000, 'the conversation', conversation(server, state))
      } catch (error) {
        // Sockets see the end a moment before it is known.
        await Promise.race([server.ended, sleep(200 * SLOW)])
        if (!mayAbort || !aborted()) throw error
      }
      if (!server.exit) {
        const how = await server.stop()
        assert.ok((how.code === 0 && !how.signal) || (mayAbort && aborted()), `it ended with ${JSON.stringify(how)}`)
      }
    }
    const complaint = /^.*(runtime error:|ERROR: \w+Sanitizer|does not hold).*$/m.exec(server.text)
    assert.ok(!complaint, complaint?.[0])
    const { hit } = server
    // Whatever happened, the next start has everything that was acknowledged.
    if (hit) {
      const again = await begin(data)
      assert.ok(again.port, `it does not start again: ${again.text}`)
      await again.stop()
    }
    await soundAfter(data, state.told, state.sent)
    return { hit, seen: server.seen }
  } catch (error) {
    console.log(`# FAULTS=${fault} failed; the server said\n${server.text.split('\n').slice(-25).join('\n')}`)
    if (!server.exit) await server.kill()
    throw error
  } finally {
    forget(dir)
  }
}

// few: how many n of this kind go into `make test`.
const KINDS = [
  { kind: 'thread', few: 4 },
  { kind: 'hash', few: 3 },
  { kind: 'accept', few: 3 },
  { kind: 'sync', few: 5 },
  { kind: 'write', few: 5 },
  { kind: 'read', few: 4 },
  { kind: 'open', few: 4 },
  { kind: 'step', few: 5 },
  { kind: 'step', few: 3, code: 7 },
  { kind: 'step', few: 2, code: 5 },
  { kind: 'step', few: 1, code: 13, late: true },
  { kind: 'commit', few: 4, code: 13, late: true },
  { kind: 'commit', few: 2, code: 7, late: true },
  { kind: 'commit', few: 1, code: 10, late: true },
  { kind: 'write', few: 3, code: 28 },
  { kind: 'room', few: 1 },
  { kind: 'room', few: 1, code: 28 },
  { kind: 'lib', few: 4, mayAbort: true },
  { kind: 'sqlite', few: 5 },
  { kind: 'alloc', few: 5, mayAbort: true },
]

let counts
test('without a fault the conversation goes through', async () => { counts = (await run(undefined, false)).seen }, { timeout: 30_000 })

if (/:/.test(wanted)) {
  const [, kind, code] = /^(\w+):[\d+]+(?:=(\d+))?/.exec(wanted)
  if (code) process.env.FAULT_CODE = code
  const env = /late/.test(wanted) ? { FAULT_LATE: '1' } : {}
  test(wanted, () => run(wanted.split('=')[0], kind === 'alloc' || kind === 'lib', env), { timeout: 60_000 })
} else {
  for (const { kind, few, code, late, mayAbort = false } of KINDS) {
    test(`the n-th ${kind} fails${code ? ` (${code}${late ? ', done all the same' : ''})` : ''}`, async () => {
      if (code) process.env.FAULT_CODE = String(code)
      else delete process.env.FAULT_CODE
      const all = wanted === 'all' || wanted === kind
      if (wanted && !all) return
      const top = counts[kind]
      assert.ok(top > 0, `no ${kind} was ever tried`)
      // Every n until runs meet no fault: three in a row, since not every run makes as many calls. Or a few spread over the run: early, late, and one beyond
      // the last.
      const queue = Array.from({ length: few }, (_, i) => Math.max(i + 1, Math.round(top * ((i + 1) / (few + 1)))))
      const beyond = top * 2 + 50
      queue.push(beyond)
      let n = part - parts, hits = 0, runs = 0, clean = 0, last = 0
      const next = () => all ? clean < 3 && (n += parts) : queue.shift()
      await Promise.all([0, 1].map(async () => {
        for (let at; (at = next());) {
          const { hit } = await run(`${kind}:${at}`, mayAbort, late ? { FAULT_LATE: '1' } : {})
          runs++
          hits += hit
          if (at >= (all ? top : beyond)) clean = hit ? 0 : clean + 1 // two run at a time, and an earlier n may end later
          last = Math.max(last, at)
        }
      }))
      console.log(`# ${kind}${code ? ` ${code}` : ''}: ${hits} faults of ${runs} runs, ${top} calls in an undisturbed one; up to n = ${last}, where ${clean} in a row were clean`)
      assert.ok(hits >= Math.min(few, runs) / 2 || parts > 1, 'the faults were met')
      assert.ok(clean, 'the last run was clean')
    }, { timeout: wanted ? 1_800_000 : 60_000 })
  }
}
