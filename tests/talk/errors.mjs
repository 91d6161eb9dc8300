// Promise: each request that cannot be fulfilled gets one `error` with its code and its ref or nonce, and the connection
// lives on; only twenty refused frames in a row close it, with 1008 (PROTOCOL §3.3, §3.4).

import assert from 'node:assert/strict'
import { login, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { SLOW, test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice'), bob = await register(server, 'bob')
const a = await online(server, alice)
const said = await a.say('a message')

/** Sends text that has no ref and gives the error; a good ping in between keeps the count of refusals at zero. */
async function refusedText(text, codes) {
  a.sendText(text)
  const f = await a.next('error')
  assert.ok([codes].flat().includes(f.code), `${text.slice(0, 80)} gave ${f.code}`)
  assert.ok(f.message.length > 3)
  await a.ask({ type: 'ping' })
}

test('bad_json: what is not JSON, or too deep', async () => {
  for (const text of ['', '{', '{"type":"ping"', 'ping', '{"type":"ping"}}', "{'type':'ping'}", '{"type":"ping",}', '{"type":"ping"}\n{"type":"ping"}', '{"type":"message","text":"\\ud800"}',
    '{"type":"message","text":"a\u0001"}', '['.repeat(60_000), '{"a":'.repeat(10_000), `{"type":"ping","pad":[${'0,'.repeat(30_000)}0]}`, '{"type":"ping","ref":NaN}', '\ufeff{"type":"ping"}']) {
    await refusedText(text, 'bad_json')
  }
})

test('bad_request: JSON that is no request', async () => {
  for (const text of ['[]', '"ping"', '7', 'null', 'true', '{}', '{"type":7}', '{"type":null}']) await refusedText(text, ['bad_request', 'unknown_type', 'bad_json'])
})

test('unknown_type: types of the server, of later versions, of nobody', async () => {
  for (const type of ['welcome', 'ready', 'presence', 'react', 'Message', 'message ', '', 'x'.repeat(1000), '__proto__']) {
    await a.askRefused({ type, id: said.id }, 'unknown_type')
    await a.ask({ type: 'ping' })
  }
})

test('bad_request: fields that are missing or of another kind', async () => {
  for (const frame of [
    { type: 'message' }, { type: 'message', text: 7 }, { type: 'message', text: null }, { type: 'message', text: ['x'] }, { type: 'message', text: 'x', room: '1' },
    { type: 'message', text: 'x', room: 1.5 }, { type: 'message', text: 'x', room: {} }, { type: 'message', text: 'x', reply: 'x' }, { type: 'edit', text: 'x' },
    { type: 'edit', id: said.id }, { type: 'edit', id: 'x', text: 'x' }, { type: 'delete' }, { type: 'delete', id: [said.id] }, { type: 'seen', room: 1 }, { type: 'seen', id: said.id },
    { type: 'typing' }, { type: 'history' }, { type: 'history', room: 1, limit: 'x' }, { type: 'history', room: 1, before: 'x' }, { type: 'message', text: 'nul \u0000 inside' },
    { type: 'message', text: 'bell \u0007' }, { type: 'message', text: 'c1 \u0085 control' }, { type: 'message', text: 'carriage \r return' },
  ]) {
    const answer = await a.ask(frame)
    assert.equal(answer.type, 'error', JSON.stringify(frame))
    assert.equal(answer.code, 'bad_request', JSON.stringify([frame, answer]))
    await a.ask({ type: 'ping' })
  }
})

test('ids beyond what there can be are not found, or refused', async () => {
  for (const id of [0, -1, 1e15, Number.MAX_SAFE_INTEGER, 1e300, -1e300]) {
    for (const frame of [{ type: 'message', text: 'x', room: id }, { type: 'edit', id, text: 'x' }, { type: 'delete', id }, { type: 'message', text: 'x', reply: id }, { type: 'history', room: id }]) {
      const answer = await a.ask(frame)
      assert.equal(answer.type, 'error', JSON.stringify(frame))
      assert.ok(['not_found', 'bad_request'].includes(answer.code), JSON.stringify([frame, answer]))
    }
    await a.ask({ type: 'ping' })
  }
  await refusedText('{"type":"edit","id":123456789012345678901234567890,"text":"x"}', ['not_found', 'bad_request'])
})

test('empty: nothing visible', async () => {
  for (const text of ['', ' ', '\n\t ', '\u3000\u00a0\u2003', '\u200b', '\u200d\ufeff', '\u00ad \u2060']) {
    await a.askRefused({ type: 'message', text }, 'empty')
    await a.ask({ type: 'ping' })
  }
})

test('too_long: more than 4,000 characters after trimming', async () => {
  await a.askRefused({ type: 'message', text: 'x'.repeat(4001) }, 'too_long')
  await a.askRefused({ type: 'message', text: '𝒳'.repeat(4001) }, 'too_long')
  await a.say(`  ${'𝒳'.repeat(4000)}  `)
})

test('bad_nonce: over 64 bytes, or no string', async () => {
  for (const nonce of ['n'.repeat(65), 'ü'.repeat(33), 7, {}]) {
    a.send({ type: 'message', text: 'x', nonce, ref: 'bn' })
    const f = await a.next('error')
    assert.equal(f.code, 'bad_nonce', JSON.stringify(nonce))
    assert.equal(f.ref, 'bn')
  }
})

test('a ref over 64 bytes is not carried back', async () => {
  a.send({ type: 'ping', ref: 'r'.repeat(65) })
  const f = await a.until(x => x.type === 'error' || x.type === 'pong')
  assert.equal(f.type, 'error')
  assert.equal(f.code, 'bad_request')
  a.send({ type: 'ping', ref: 'ü'.repeat(32) })
  assert.equal((await a.next('pong')).ref, 'ü'.repeat(32))
})

test('not_found, forbidden', async () => {
  await a.askRefused({ type: 'message', text: 'x', room: 4711 }, 'not_found')
  await a.askRefused({ type: 'history', room: 4711 }, 'not_found')
  await a.askRefused({ type: 'seen', room: 4711, id: 1 }, 'not_found')
  await a.askRefused({ type: 'delete', id: 4711_4711 }, 'not_found')
  const b = await online(server, bob)
  await b.askRefused({ type: 'edit', id: said.id, text: 'x' }, 'forbidden')
  await b.askRefused({ type: 'delete', id: said.id }, 'forbidden')
  await b.close()
})

test('a message that names a room or a user as id is not found', async () => {
  const me = a.welcome.user.rev // a rev at which no message was created
  await a.askRefused({ type: 'edit', id: me, text: 'x' }, 'not_found')
  await a.askRefused({ type: 'message', text: 'x', reply: me }, 'not_found')
})

test('unknown fields are ignored', async () => {
  const f = await a.say('with extras', { colour: 'green', file: undefined, sender: 'bob', id: 5, rev: 9, time: 0, deleted: 1, edited: 1, bot: true, __proto__: { x: 1 } })
  assert.equal(f.sender, 'alice')
  assert.notEqual(f.id, 5)
  assert.ok(!f.deleted && !f.edited && !f.bot)
  assert.ok(f.time > 1e12)
})

test('nineteen refusals and a good frame go on for ever, twenty in a row close 1008', async () => {
  const s = await online(server, bob)
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 19; i++) s.sendText('not json')
    await s.ask({ type: 'ping' })
  }
  assert.equal(s.waiting('error').length, 38)
  for (let i = 0; i < 20; i++) s.sendText('not json')
  await s.expectClose(1008)
  assert.ok(s.waiting('error').length >= 38 + 19, 'each refused frame had its answer')
})

test('good messages between the refused ones count, though the store decides about them later', async () => {
  const brisk = await startServer({ args: ['--message-rate', 'off', '--request-rate', 'off'] })
  const s = await online(brisk, await register(brisk, 'carol'))
  for (let round = 0; round < 30; round++) {
    for (const text of [JSON.stringify({ type: 'message', text: 'good', nonce: `between ${round}` }), 'x']) s.sendText(text)
  }
  for (let round = 0; round < 30; round++) await s.until(f => f.nonce === `between ${round}`)
  await s.ask({ type: 'ping' })
  // Twenty that the store refuses are as many; and so are twenty behind good ones that it has not decided about.
  for (let i = 0; i < 20; i++) s.send({ type: 'message', text: '', nonce: `refused ${i}` })
  await s.expectClose(1008)
  const again = await online(brisk, await login(brisk, 'carol'))
  for (let i = 0; i < 5; i++) again.send({ type: 'message', text: 'good', nonce: `first ${i}` })
  for (let i = 0; i < 19; i++) again.sendText('x')
  await again.ask({ type: 'ping' })
  for (let i = 0; i < 5; i++) again.send({ type: 'message', text: 'good', nonce: `second ${i}` })
  for (let i = 0; i < 20; i++) again.sendText('x')
  await again.expectClose(1008)
  assert.equal(again.log.filter(f => f.type === 'error').length, 39)
  await brisk.stop()
})

test('rate_limited is not decided by errors: a flood is slowed, not refused', async () => {
  const slow = await startServer({ args: ['--request-rate', '20/200'] })
  const carol = await register(slow, 'carol')
  const s = await online(slow, carol)
  const start = Date.now()
  for (let i = 0; i < 120; i++) s.send({ type: 'ping', ref: String(i) })
  for (let i = 0; i < 120; i++) assert.equal((await s.next('pong')).ref, String(i))
  assert.ok(Date.now() - start >= 350, 'a hundred above the burst at 200 a second take half a second')
  assert.equal(s.waiting('error').length, 0)
  await slow.stop()
})

test('messages beyond the message rate are refused with rate_limited and retry_after, and are not stored', async () => {
  const slow = await startServer({ args: ['--message-rate', '3/1'] })
  const carol = await register(slow, 'carol')
  const s = await online(slow, carol)
  for (let i = 0; i < 6; i++) s.send({ type: 'message', text: `m${i}`, nonce: `m${i}` })
  const answers = []
  for (let i = 0; i < 6; i++) answers.push(await s.until(f => /^m\d$/.test(f.nonce)))
  assert.deepEqual(answers.filter(f => f.type === 'message').map(f => f.nonce), ['m0', 'm1', 'm2'])
  for (const f of answers.filter(x => x.type === 'error')) {
    assert.equal(f.code, 'rate_limited')
    assert.ok(f.retry_after > 0)
  }
  const history = await s.ask({ type: 'history', room: 1 })
  assert.deepEqual(history.messages.map(m => m.text), ['m0', 'm1', 'm2'])
  await slow.stop()
})

test('edits and deletions count as messages do, over all sockets of a user', async () => {
  const slow = await startServer({ args: ['--message-rate', '4/1'] })
  const carol = await register(slow, 'carol')
  const s = await online(slow, carol), other = await online(slow, carol)
  const first = await s.say('one'), second = await s.say('two')
  s.send({ type: 'edit', id: first.id, text: 'one again' })
  await other.until(f => f.id === first.id && f.edited)
  other.send({ type: 'delete', id: second.id })
  await s.until(f => f.id === second.id && f.deleted)
  for (const [socket, frame] of [[s, { type: 'message', text: 'three' }], [other, { type: 'edit', id: first.id, text: 'x' }], [s, { type: 'delete', id: first.id }]]) {
    const f = await socket.askRefused(frame, 'rate_limited')
    assert.ok(f.retry_after > 0)
  }
  await slow.stop()
}, { skip: SLOW > 4 ? 'a token comes back each second, and nine steps take longer here' : '' })
