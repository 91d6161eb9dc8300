// Promise: guessing passwords is slowed for each pair of address and name and for each address, with 429 and
// Retry-After, and never locks the owner out who comes from elsewhere (PROTOCOL §4). The addresses are made with
// X-Forwarded-For, as a trusted proxy would send it.

import assert from 'node:assert/strict'
import { PASSWORD, http, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { sleep, test } from '../support/suite.mjs'

const server = await startServer({ args: ['--login-rate', '3', '--trust-proxy', '127.0.0.0/8'] })
// The last of 65 waits for 64 hashes, of which each may take a second on a busy machine.
const QUEUE_MS = 90_000
const from = address => ({ 'X-Forwarded-For': address })
const tryLogin = (address, username, password = 'wrong password', at = server) =>
  http(at, 'POST', '/api/login', { json: { username, password }, headers: from(address), timeout: QUEUE_MS })
const owner = await http(server, 'POST', '/api/register', { json: { username: 'owner', password: PASSWORD }, headers: from('198.51.100.1') })
assert.equal(owner.status, 201, owner.text)

test('after the limit 429 rate_limited with Retry-After in seconds', async () => {
  for (let i = 0; i < 3; i++) assert.equal((await tryLogin('203.0.113.1', 'owner')).status, 401)
  const res = await tryLogin('203.0.113.1', 'owner')
  assert.equal(res.status, 429, res.text)
  assert.equal(res.json.error, 'rate_limited')
  assert.match(res.headers['retry-after'], /^[1-9]\d*$/)
  assert.ok(Number(res.headers['retry-after']) <= 60)
})

test('wrong passwords from elsewhere never lock the owner out', async () => {
  for (let i = 0; i < 30; i++) await tryLogin(`203.0.113.${10 + i}`, 'owner')
  const res = await tryLogin('198.51.100.1', 'owner', PASSWORD)
  assert.equal(res.status, 200, res.text)
})

test('another name from the limited address still has its own', async () => {
  assert.equal((await tryLogin('203.0.113.1', 'somebody')).status, 401)
})

test('another spelling of the name does not have its own', async () => {
  assert.equal((await tryLogin('203.0.113.1', 'OWNER')).status, 429)
})

/**
 * So many tries at once that a minute's are used up, however slowly a hash is made: the attempt counts when it arrives. As many are let through as the
 * bucket holds, and one more for each second that it has refilled.
 */
async function tryAtOnce(address, expected) {
  const begin = performance.now()
  const status = (await Promise.all(Array.from({ length: expected + 15 }, (_, i) => tryLogin(address(i), `guess${i}`, 'wrong password', usual)))).map(r => r.status)
  const refilled = Math.ceil((performance.now() - begin) / 1000 * expected / 60), through = status.filter(code => code === 401).length
  assert.ok(status.every(code => code === 401 || code === 429), `${[...new Set(status)]}`)
  assert.ok(through >= expected && through <= expected + refilled, `${through} were let through, and ${refilled} refilled`)
}

const usual = await startServer({ args: ['--login-rate', '10', '--trust-proxy', '127.0.0.0/8'] })
test('an address has 60 tries a minute over all names', () => tryAtOnce(() => '203.0.113.200', 60), { timeout: QUEUE_MS })

test('an IPv6 address counts with its /64', async () => {
  await tryAtOnce(i => `2001:db8:1:2:${(i + 1).toString(16)}::7`, 60)
  assert.equal((await tryLogin('2001:db8:1:3::7', 'guess', 'wrong password', usual)).status, 401)
}, { timeout: QUEUE_MS })

test('registrations are limited too', async () => {
  const answers = []
  for (let i = 0; i < 5; i++) {
    answers.push((await http(server, 'POST', '/api/register', { json: { username: 'owner', password: PASSWORD }, headers: from('203.0.113.250') })).status)
  }
  assert.deepEqual(answers.slice(0, 3), [409, 409, 409])
  assert.equal(answers[4], 429)
})

test('a flood of logins does not hold up the chat, and is refused with 429 where it cannot be served', async () => {
  const busy = await startServer({ args: ['--password-memory', '19', '--password-ops', '2', '--login-rate', 'off'] })
  const alice = await register(busy, 'alice')
  const s = await online(busy, alice)
  // It goes on until the messages are stored, so that they are stored during it on any machine.
  let over = false
  const flood = Promise.all(Array.from({ length: 120 }, async (_, i) => {
    const answers = []
    do answers.push(await http(busy, 'POST', '/api/login', { json: { username: `nobody${i}`, password: 'wrong password' }, timeout: QUEUE_MS }))
    while (!over)
    return answers
  }))
  await sleep(50)
  for (let i = 0; i < 5; i++) await s.say(`meanwhile ${i}`)
  over = true
  const answers = (await flood).flat(), status = new Set(answers.map(r => r.status))
  assert.ok([...status].every(code => code === 401 || code === 429), `${[...status]}`)
  assert.ok(status.has(401))
  for (const res of answers.filter(r => r.status === 429)) assert.match(res.headers['retry-after'], /^\d+$/)
  await busy.stop()
}, { timeout: QUEUE_MS })

test('loopback is limited for each name like everybody', async () => {
  const plain = await startServer({ args: ['--login-rate', '2'] })
  await register(plain, 'alice')
  const status = []
  for (let i = 0; i < 4; i++) status.push((await http(plain, 'POST', '/api/login', { json: { username: 'ghost', password: 'wrong password' } })).status)
  assert.deepEqual(status, [401, 401, 429, 429])
  await plain.stop()
})
