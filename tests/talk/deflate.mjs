// Promise: permessage-deflate is negotiated without context takeover when the client offers it and --deflate allows,
// small frames go without, and hostile compressed input is bounded and checked after inflating (PROTOCOL §3, §5).

import assert from 'node:assert/strict'
import { deflateRawSync } from 'node:zlib'
import { OPCODE, deflateMessage, online, register, ws } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer({ args: ['--deflate', 'on'] })
const alice = await register(server, 'alice')
const open = (deflate = true) => online(server, alice, { deflate })

/** Sends a compressed text message. */
const sendDeflated = (s, text) => s.sendFrame(deflateMessage(text), { rsv: 4 })

test('the answer declines context takeover on both sides', async () => {
  for (const offer of ['permessage-deflate', 'permessage-deflate; client_max_window_bits', 'permessage-deflate; server_no_context_takeover; client_no_context_takeover',
    'x-webkit-deflate-frame, permessage-deflate', 'permessage-deflate; client_max_window_bits=10', 'permessage-deflate ; client_max_window_bits , permessage-deflate']) {
    const s = await open(offer)
    assert.match(s.deflate ?? '', /^permessage-deflate\b/, offer)
    const parameters = s.deflate.split(';').map(p => p.trim())
    assert.ok(parameters.includes('server_no_context_takeover'), `${offer}: ${s.deflate}`)
    assert.ok(parameters.includes('client_no_context_takeover'), `${offer}: ${s.deflate}`)
    await s.close()
  }
})

test('without an offer, or with one that cannot be kept, there is none', async () => {
  for (const offer of [false, 'x-other', 'permessage-deflate; server_max_window_bits=99', 'permessage-deflate; unheard_of', 'permessage-deflate; server_no_context_takeover=1',
    'permessage-deflate; client_max_window_bits=7', 'permessage-deflate; client_max_window_bits=abc']) {
    const s = await open(offer)
    assert.equal(s.deflate, null, String(offer))
    await s.say('plain')
    await s.close()
  }
})

test('both ways: long frames come compressed, short ones do not', async () => {
  const s = await open()
  const text = 'compress me '.repeat(100).trim()
  sendDeflated(s, JSON.stringify({ type: 'message', text, nonce: 'long' }))
  const f = await s.until(x => x.nonce === 'long')
  assert.equal(f.text, text)
  assert.equal(f.wire.compressed, true)
  assert.ok(f.wire.size < text.length / 3)
  s.send({ type: 'ping', ref: 'short' })
  const pong = await s.next('pong')
  assert.equal(pong.wire.compressed, false)
  for (const x of s.log) if (x.wire.compressed) assert.ok(Buffer.byteLength(x.wire.text) >= 200)
  await s.close()
})

test('each message stands by itself: the same bytes inflate twice', async () => {
  const s = await open()
  const bytes = deflateMessage(JSON.stringify({ type: 'ping', ref: 'same', pad: 'p'.repeat(300) }))
  for (let i = 0; i < 3; i++) {
    s.sendFrame(bytes, { rsv: 4 })
    assert.equal((await s.next('pong')).ref, 'same')
  }
  await s.close()
})

test('sockets with and without it hear the same', async () => {
  const plain = await online(server, alice), zipped = await open()
  const said = await plain.say('to both '.repeat(60).trim())
  assert.equal((await zipped.until(f => f.id === said.id)).wire.text, said.wire.text)
  await plain.close()
  await zipped.close()
})

test('compressed fragments, uncompressed messages in between, stored and final blocks', async () => {
  const s = await open()
  const bytes = deflateMessage(JSON.stringify({ type: 'ping', ref: 'cut' }))
  s.sendFrame(bytes.subarray(0, 3), { rsv: 4, fin: false })
  s.sendFrame('', { opcode: OPCODE.ping })
  s.sendFrame(bytes.subarray(3, 7), { opcode: OPCODE.continuation, fin: false })
  s.sendFrame(bytes.subarray(7), { opcode: OPCODE.continuation })
  assert.equal((await s.next('pong')).ref, 'cut')
  s.send({ type: 'ping', ref: 'plain' })
  assert.equal((await s.next('pong')).ref, 'plain')
  // A block marked final, as some libraries send: RFC 7692 §7.2.3.4.
  s.sendFrame(Buffer.concat([deflateRawSync(Buffer.from(JSON.stringify({ type: 'ping', ref: 'final' }))), Buffer.from([0])]), { rsv: 4 })
  assert.equal((await s.next('pong')).ref, 'final')
  await s.close()
})

for (const [what, code, say] of [
  ['a bomb that inflates to 100 MB', 1009, s => s.sendFrame(deflateMessage(Buffer.alloc(100 << 20, 32)).subarray(0, 65_000), { rsv: 4 })],
  ['one that inflates to just over 64 KiB', 1009, s => sendDeflated(s, JSON.stringify({ type: 'ping', pad: 'x'.repeat(65_536) }))],
  ['bad UTF-8 inside', 1007, s => s.sendFrame(deflateMessage(Buffer.from([0x22, 0xff, 0xfe, 0x22])), { rsv: 4 })],
  ['a character that is not finished', 1007, s => s.sendFrame(deflateMessage(Buffer.from([0x22, 0xf0, 0x9f])), { rsv: 4 })],
  ['RSV1 on a continuation', 1002, s => { s.sendFrame('x', { fin: false }); s.sendFrame('y', { opcode: OPCODE.continuation, rsv: 4 }) }],
  ['RSV1 on a ping', 1002, s => s.sendFrame('x', { opcode: OPCODE.ping, rsv: 4 })],
  ['RSV2', 1002, s => s.sendFrame('x', { rsv: 2 })],
  ['compressed binary', 1003, s => s.sendFrame(deflateMessage('x'), { opcode: OPCODE.binary, rsv: 4 })],
]) {
  test(`${what} closes ${code}`, async () => {
    const s = await open()
    say(s)
    await s.expectClose(code)
  }, { together: true })
}

test('what does not inflate closes the connection', async () => {
  const s = await open()
  s.sendFrame(Buffer.from([0x07, 0xff, 0xff, 0xff, 0x12, 0x34]), { rsv: 4 })
  assert.ok([1002, 1007].includes((await s.closed).code))
})

test('the server still works and has not grown', async () => {
  assert.ok(server.rss() < 256 << 20)
  await (await open()).say('well')
})

test('--deflate auto leaves loopback alone, off declines always', async () => {
  for (const mode of ['auto', 'off']) {
    const other = await startServer({ args: ['--deflate', mode] })
    const s = await ws(other, { token: (await register(other, 'bob')).token, deflate: true })
    assert.equal(s.deflate, null, mode)
    await other.stop()
  }
})
