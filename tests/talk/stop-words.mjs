// Promise: a message with a stop word is not stored; its sender is warned, and at the third time blocked, on every
// socket and every call; words are whole words, after NFKC and folding; an administrator lifts the block and the
// warnings with it (PROTOCOL §2.2, §3.1, §5).

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PASSWORD, call, cookieOf, http, login, online, refused, register, registerAdmin, wsRefused } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { eventually, test } from '../support/suite.mjs'

const words = join(temporary(), 'words')
writeFileSync(words, '\ufeff# comment: not a word\n\n  hate  \r\nbad phrase\nfoo*\n*bar\n*mid*\nStraße\nnaïve\n# hello\nxylo-phone\nтрус\n')
const server = await startServer({ args: ['--stop-words', words, '--warnings', '0'] })
const alice = await register(server, 'alice'), bob = await register(server, 'bob')
const a = await online(server, alice), b = await online(server, bob)

/** Says it and tells whether it was stored. */
async function stored(text) {
  a.send({ type: 'message', text, nonce: text.slice(0, 16) + Math.random() })
  const f = await a.until(x => ['message', 'warning', 'error'].includes(x.type))
  assert.notEqual(f.type, 'error', JSON.stringify(f))
  return f.type === 'message'
}

test('whole words, phrases and wildcards are found', async () => {
  for (const text of ['hate', 'I hate this', 'HATE!', '(hate)', 'hate.', 'well,hate', 'so much hate', '"hate"', 'hate\nyou', 'a bad phrase here', 'BAD PHRASE', 'bad   phrase', 'bad\nphrase',
    'foo', 'foolish', 'FOOtball', 'bar', 'rhubarb bar', 'crowbar', 'mid', 'amidst', 'midday', 'Pyramids', 'strasse', 'STRASSE', 'naïve', 'nai\u0308ve', 'NAÏVE', 'xylo-phone', 'ТРУС', 'я трус!']) {
    assert.equal(await stored(text), false, text)
  }
})

test('parts of other words are not', async () => {
  for (const text of ['whatever', 'hated by no word', 'a hater', 'hat e', 'ha te', 'bad', 'phrase', 'badphrase', 'bad phrases', 'bad good phrase', 'afoot', 'barn', 'embargo', 'miid', 'strassen', 'naive', 'hello',
    'comment: not a word', 'hate1', 'xylo', 'трусы', 'трусость', '*', 'm i d']) {
    assert.equal(await stored(text), true, text)
  }
})

test('tricks with letters that only look or spell otherwise do not help', async () => {
  for (const text of ['ｈａｔｅ', 'ｈate', '𝐡𝐚𝐭𝐞', 'ⓗⓐⓣⓔ', 'ha\u200bte', 'ha\u200dte', 'h\u00ada\u00adt\u00ade', 'ha\u2060te', '\ufeffhate', 'ha\u034fte', 'hate\ufe0f', 'h\u200ea\u200ft\u202ae', 'bad\u00a0phrase', 'bad\u3000phrase', 'stra\u1e9ee']) {
    assert.equal(await stored(text), false, JSON.stringify(text))
  }
})

test('an edit is judged like a message, and the old text stays', async () => {
  const said = await a.say('harmless')
  a.send({ type: 'edit', id: said.id, text: 'now with hate', ref: 'e' })
  const f = await a.until(x => x.type === 'warning' || x.id === said.id && x.edited)
  assert.equal(f.type, 'warning')
  assert.equal(f.ref, 'e')
  const { messages } = await a.ask({ type: 'history', room: 1, limit: 1 })
  assert.equal(messages[0].text, 'harmless')
})

test('room names and topics are judged too, without a warning', async () => {
  for (const json of [{ name: 'hate' }, { name: 'ok', topic: 'about hate' }]) await refused(server, 'POST', '/api/rooms', { token: alice.token, json }, 422, 'stop_word')
  const { room } = await call(server, 'POST', '/api/rooms', { token: alice.token, json: { name: 'Whatever' } }, 201)
  await refused(server, 'PATCH', `/api/rooms/${room.id}`, { token: alice.token, json: { topic: 'hate' } }, 422, 'stop_word')
})

test('nobody else sees a thing, and with --warnings 0 nobody is ever blocked', async () => {
  const w = await (async () => { a.send({ type: 'message', text: 'hate again', nonce: 'zero' }); return a.until(f => f.nonce === 'zero') })()
  assert.equal(w.type, 'warning')
  assert.equal(w.limit, 0)
  const last = await a.say('still here')
  await b.reaches(last.rev)
  assert.ok(!b.log.some(f => f.type === 'warning' || /\bhate\b|\bbad phrase\b/i.test(f.text ?? '')))
})

// ------------------------------------------------------------------------------- three warnings and the block

const strict = await startServer({ args: ['--stop-words', words] })
const carol = await register(strict, 'carol'), dora = await register(strict, 'dora')
const c1 = await online(strict, carol), c2 = await online(strict, carol), d = await online(strict, dora)

test('the third violation blocks: a warning each time, then blocked and close 4002 on every socket', async () => {
  for (const count of [1, 2, 3]) {
    c1.send({ type: 'message', text: 'hate', nonce: `w${count}` })
    const f = await c1.next('warning')
    assert.equal(f.count, count)
    assert.equal(f.limit, 3)
    assert.equal(f.nonce, `w${count}`)
    if (count === 2) assert.equal((await call(strict, 'GET', '/api/me', { token: carol.token })).user.warnings, 2)
  }
  for (const s of [c1, c2]) {
    const f = await s.next('blocked')
    assert.equal(typeof f.reason, 'string')
    await s.expectClose(4002)
  }
})

test('a page that lost the answer and sends its message again is told again, and not warned twice', async () => {
  const erin = await register(strict, 'erin')
  for (let times = 0; times < 4; times++) {
    const e = await online(strict, erin)
    e.send({ type: 'message', text: 'hate', nonce: 'lost' })
    assert.equal((await e.next('warning')).count, 1)
    await e.close()
  }
  assert.equal((await call(strict, 'GET', '/api/me', { token: erin.token })).user.warnings, 1)
})

test('administrators see warnings and blocks, others do not', async () => {
  const admin = await registerAdmin(strict)
  const find = async token => (await call(strict, 'GET', '/api/users?q=carol', { token })).users.find(u => u.username === 'carol')
  const seen = await find(admin.token)
  assert.equal(seen.warnings, 3)
  assert.equal(seen.blocked, true)
  assert.ok(!('warnings' in await find(dora.token)))
})

test('a blocked user’s sessions stay, but every call and the handshake is 403 blocked', async () => {
  for (const [method, path, json] of [['GET', '/api/me'], ['GET', '/api/rooms'], ['GET', '/api/rooms/1/messages'], ['GET', '/api/users'], ['PATCH', '/api/me', { status: 'x' }], ['POST', '/api/rooms', { name: 'x' }],
    ['GET', '/api/me/sessions'], ['POST', '/api/me/password', { old: PASSWORD, new: 'another password' }]]) {
    await refused(strict, method, path, { token: carol.token, ...(json ? { json } : {}) }, 403, 'blocked')
  }
  await wsRefused(strict, { token: carol.token }, 403, 'blocked')
  await refused(strict, 'POST', '/api/login', { json: { username: 'carol', password: PASSWORD } }, 403, 'blocked')
  await refused(strict, 'POST', '/api/login', { json: { username: 'carol', password: 'wrong password' } }, 401, 'bad_credentials')
  await strict.restart()
  await refused(strict, 'GET', '/api/me', { token: carol.token }, 403, 'blocked')
})

test('unblocked by the command line they are back, with no warnings', async () => {
  const done = await strict.cli(['user', 'unblock', 'carol'])
  assert.equal(done.code, 0, done.stderr)
  const me = await call(strict, 'GET', '/api/me', { token: carol.token }, 200)
  assert.equal(me.user.warnings, 0)
  assert.equal(me.user.blocked, false)
  const c = await online(strict, carol)
  await c.say('thank you')
  c.send({ type: 'message', text: 'hate', nonce: 'again' })
  assert.equal((await c.next('warning')).count, 1)
  await c.close()
})

test('a block by the command line closes sockets at once, and logout still works', async () => {
  const c = await online(strict, carol)
  const res = await http(strict, 'POST', '/api/login', { json: { username: 'carol', password: PASSWORD } })
  const other = cookieOf(res)
  assert.equal((await strict.cli(['user', 'block', 'carol'])).code, 0)
  await c.next('blocked')
  await c.expectClose(4002)
  await call(strict, 'POST', '/api/logout', { token: other }, 204)
  await strict.cli(['user', 'unblock', 'carol'])
  await refused(strict, 'GET', '/api/me', { token: other }, 401, 'unauthorized')
  await login(strict, 'carol')
})

test('several violations in one write count one by one, and nothing behind the block is stored', async () => {
  const e = await register(strict, 'emil')
  const s = await online(strict, e)
  for (let i = 0; i < 5; i++) s.send({ type: 'message', text: 'hate', nonce: `v${i}` })
  s.send({ type: 'message', text: 'innocent', nonce: 'late' })
  await s.expectClose(4002)
  assert.deepEqual(s.log.filter(f => f.type === 'warning').map(f => f.count), [1, 2, 3])
  const witness = await online(strict, await login(strict, 'carol'))
  assert.ok(!witness.log.some(f => /innocent/.test(f.wire.text)))
})

test('SIGHUP reads the words again', async () => {
  const s = await online(strict, await register(strict, 'gina'))
  await s.say('wombat')
  writeFileSync(words, 'wombat\n')
  process.kill(strict.pid, 'SIGHUP')
  await eventually('wombat is refused', async () => {
    s.send({ type: 'message', text: 'wombat', nonce: `h${Math.random()}` })
    return (await s.until(f => ['message', 'warning'].includes(f.type))).type === 'warning'
  })
  await s.say('I no longer hate')
  await s.close()
})

test('without --stop-words there is a short built-in list', async () => {
  const plain = await startServer()
  const { code, stdout } = await plain.cli(['stop-words'])
  assert.equal(code, 0)
  const list = stdout.split('\n').map(l => l.trim()).filter(l => l && !l.startsWith('#'))
  assert.ok(list.length >= 3)
  const s = await online(plain, await register(plain, 'hans'))
  const word = list.find(l => /^\w+$/.test(l)) ?? list[0].replace(/\*/g, '')
  s.send({ type: 'message', text: `so ${word}`, nonce: 'built-in' })
  assert.equal((await s.until(f => f.nonce === 'built-in')).type, 'warning')
  await plain.stop()
})
