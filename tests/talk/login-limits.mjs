// Promise: guessing passwords is slowed for each pair of address and name and for each address, with 429 and
// Retry-After, and never locks the owner out who comes from elsewhere (PROTOCOL §4). The addresses are made with
// X-Forwarded-For, as a trusted proxy would send it.

import assert from 'node:assert/strict'
import { PASSWORD, http, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { sleep, test } from '../support/suite.mjs'

const server = await startServer({ args: ['--login-rate', '3', '--trust-proxy', '127.0.0.0/8'] })
const from = address => ({ 'X-Forwarded-For': address })
const tryLogin = (address, username, password = 'wrong password', at = server) =>
  http(at, 'POST', '/api/login', { json: { username, password }, headers: from(address) })
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

/** The number of tries that were let through before the first 429. */
async function triesUntil429(address, limit = 90) {
  for (let i = 0; i < limit; i++) if ((await tryLogin(address(i), `guess${i}`, 'wrong password', usual)).status === 429) return i
  return limit
}

// 60 a minute refill while we try: a slow machine sees a few more.
const usual = await startServer({ args: ['--login-rate', '10', '--trust-proxy', '127.0.0.0/8'] })
test('an address has 60 tries a minute over all names', async () => {
  const tries = await triesUntil429(() => '203.0.113.200')
  assert.ok(tries >= 60 && tries < 90, `429 after ${tries}`)
}, { timeout: 30_000 })

test('an IPv6 address counts with its /64', async () => {
  const tries = await triesUntil429(i => `2001:db8:1:2:${(i + 1).toString(16)}::7`)
  assert.ok(tries >= 60 && tries < 90, `429 after ${tries}`)
  assert.equal((await tryLogin('2001:db8:1:3::7', 'guess', 'wrong password', usual)).status, 401)
}, { timeout: 30_000 })

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
  let answered = 0
  const flood = Promise.all(Array.from({ length: 120 }, async (_, i) => {
    const res = await http(busy, 'POST', '/api/login', { json: { username: `nobody${i}`, password: 'wrong password' } })
    answered++
    return res
  }))
  await sleep(50)
  for (let i = 0; i < 5; i++) await s.say(`meanwhile ${i}`)
  assert.ok(answered < 120, 'the messages were stored before the flood had passed')
  const status = (await flood).map(r => r.status)
  assert.ok(status.every(code => code === 401 || code === 429), `${[...new Set(status)]}`)
  assert.ok(status.includes(401))
  for (const res of (await flood).filter(r => r.status === 429)) assert.match(res.headers['retry-after'], /^\d+$/)
  await busy.stop()
}, { timeout: 30_000 })

test('loopback is limited for each name like everybody', async () => {
  const plain = await startServer({ args: ['--login-rate', '2'] })
  await register(plain, 'alice')
  const status = []
  for (let i = 0; i < 4; i++) status.push((await http(plain, 'POST', '/api/login', { json: { username: 'ghost', password: 'wrong password' } })).status)
  assert.deepEqual(status, [401, 401, 429, 429])
  await plain.stop()
})
