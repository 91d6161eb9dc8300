// Promise: the WebSocket is RFC 6455 to the letter (PROTOCOL §3, §3.4): what is not text closes 1003, what is too long
// 1009, what is not UTF-8 1007, every other violation 1002; the close is answered, pings are answered, and fragments
// with control frames between them make one message.

import assert from 'node:assert/strict'
import { OPCODE, encodeFrame, online, register, tcp } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const server = await startServer({ args: ['--max-sockets-per-user', '1000'] })
const alice = await register(server, 'alice')
const open = (options = {}) => online(server, alice, options)
const PING = JSON.stringify({ type: 'ping', ref: 'p' })
const u16 = n => Buffer.from([n >> 8, n & 255])

/** Sends what `say` says on a fresh socket; it must close with this code. */
function closes(what, code, say, options = {}) {
  test(`${what} closes ${code}`, async () => {
    const s = await open(options)
    say(s)
    await s.expectClose(code)
  }, { together: true })
}

/** Sends what `say` says on a fresh socket; the ping in it must be answered and nothing else happen. */
function works(what, say, options = {}) {
  test(`${what} works`, async () => {
    const s = await open(options)
    await say(s)
    assert.equal((await s.next('pong')).ref, 'p')
    assert.equal(s.waiting('error').length, 0)
    assert.equal((await s.close()).code, 1000)
  }, { together: true })
}

const CONT = OPCODE.continuation
const split = (text, ...cuts) => [0, ...cuts].map((from, i) => Buffer.from(text).subarray(from, cuts[i]))

works('a text frame', s => s.sendText(PING))
works('two fragments', s => { const [x, y] = split(PING, 5); s.sendFrame(x, { fin: false }); s.sendFrame(y, { opcode: CONT }) })
works('a fragment for each byte', s => {
  const all = Buffer.from(PING)
  for (let i = 0; i < all.length; i++) s.sendFrame(all.subarray(i, i + 1), { opcode: i ? CONT : OPCODE.text, fin: i === all.length - 1 })
})
works('empty fragments', s => {
  s.sendFrame('', { fin: false })
  s.sendFrame('', { opcode: CONT, fin: false })
  s.sendFrame(PING, { opcode: CONT, fin: false })
  s.sendFrame('', { opcode: CONT })
})
works('control frames between fragments', async s => {
  const [x, y, z] = split(PING, 4, 9)
  s.sendFrame(x, { fin: false })
  s.sendFrame('between', { opcode: OPCODE.ping })
  s.sendFrame(y, { opcode: CONT, fin: false })
  s.sendFrame('unasked', { opcode: OPCODE.pong })
  s.sendFrame(z, { opcode: CONT })
  await s.next('pong').then(f => s.frames.push(f))
  assert.deepEqual(s.pongs, ['between'])
})
works('a character cut by a fragment', async s => {
  const text = Buffer.from(JSON.stringify({ type: 'ping', ref: '🐘' }))
  const at = text.indexOf(Buffer.from('🐘')) + 2
  s.sendFrame(text.subarray(0, at), { fin: false })
  s.sendFrame(text.subarray(at), { opcode: CONT })
  assert.equal((await s.next('pong')).ref, '🐘')
  s.sendText(PING)
})
works('bytes that trickle', async s => {
  for (const byte of encodeFrame(PING)) {
    s.sendRaw(Buffer.from([byte]))
    await new Promise(done => setImmediate(done))
  }
})
works('many frames in one write', async s => {
  s.sendRaw(Buffer.concat(Array.from({ length: 200 }, (_, i) => encodeFrame(JSON.stringify({ type: 'ping', ref: `q${i}` })))))
  for (let i = 0; i < 200; i++) assert.equal((await s.next('pong')).ref, `q${i}`)
  s.sendText(PING)
})
works('a ping of 125 bytes', async s => {
  s.sendFrame('y'.repeat(125), { opcode: OPCODE.ping })
  s.sendFrame('', { opcode: OPCODE.ping })
  s.sendText(PING)
  await s.next('pong').then(f => s.frames.push(f))
  assert.deepEqual(s.pongs, ['y'.repeat(125), ''])
})
works('a message of exactly 64 KiB', async s => {
  const bare = JSON.stringify({ type: 'ping', ref: 'p', pad: '' })
  s.sendText(JSON.stringify({ type: 'ping', ref: 'p', pad: 'x'.repeat(65536 - bare.length) }))
})
closes('a binary frame', 1003, s => s.sendFrame('x', { opcode: OPCODE.binary }))
closes('an empty binary frame', 1003, s => s.sendFrame('', { opcode: OPCODE.binary }))
closes('a binary frame in fragments', 1003, s => { s.sendFrame('x', { opcode: OPCODE.binary, fin: false }); s.sendFrame('y', { opcode: CONT }) })
closes('a frame over 64 KiB', 1009, s => s.sendText(JSON.stringify({ type: 'ping', pad: 'x'.repeat(65536) })))
closes('only the head of a frame of 1 GiB', 1009, s => s.sendRaw(encodeFrame('x', { length: 2 ** 30 })))
closes('a length of 2^63 - 1', 1009, s => s.sendRaw(Buffer.concat([Buffer.from([0x81, 0xff, 0x7f]), Buffer.alloc(7, 0xff), Buffer.alloc(4), Buffer.from('x')])))
closes('fragments that add up to more than 64 KiB', 1009, s => {
  s.sendFrame('x'.repeat(40_000), { fin: false })
  s.sendFrame('x'.repeat(40_000), { opcode: CONT })
})
closes('more than 16,384 fragments', 1009, s => {
  s.sendFrame('', { fin: false })
  const empty = encodeFrame('', { opcode: CONT, fin: false })
  for (let i = 0; i < 17; i++) s.sendRaw(Buffer.concat(Array(1000).fill(empty)))
})
closes('a length with its top bit set', 1002, s => s.sendRaw(Buffer.concat([Buffer.from([0x81, 0xff, 0x80]), Buffer.alloc(7), Buffer.alloc(4), Buffer.from('x')])))

for (const [what, bytes] of [
  ['a lone continuation byte', [0x80]], ['an overlong slash', [0xc0, 0xaf]], ['an overlong NUL', [0xe0, 0x80, 0x80]], ['a surrogate', [0xed, 0xa0, 0x80]],
  ['above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]], ['0xFF', [0xff]], ['a character that is not finished', [0xf0, 0x9f, 0x90]], ['five bytes', [0xf8, 0x88, 0x80, 0x80, 0x80]],
]) closes(`bad UTF-8, ${what},`, 1007, s => s.sendFrame(Buffer.from([0x22, ...bytes])))
closes('bad UTF-8 in the second fragment', 1007, s => { s.sendFrame('{"a":"', { fin: false }); s.sendFrame(Buffer.from([0xc3]), { opcode: CONT, fin: false }); s.sendFrame('"}', { opcode: CONT }) })
closes('bad UTF-8 in a close reason', 1007, s => s.sendFrame(Buffer.from([...u16(1000), 0xff, 0xfe]), { opcode: OPCODE.close }))

closes('a frame without a mask', 1002, s => s.sendRaw(encodeFrame(PING, { mask: false })))
closes('a close without a mask', 1002, s => s.sendRaw(encodeFrame(u16(1000), { mask: false, opcode: OPCODE.close })))
for (const rsv of [1, 2, 3, 4, 7]) closes(`RSV ${rsv} without an extension`, 1002, s => s.sendFrame(PING, { rsv }))
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) closes(`opcode ${opcode}`, 1002, s => s.sendFrame('x', { opcode }))
closes('a continuation of nothing', 1002, s => s.sendFrame(PING, { opcode: CONT }))
closes('a new message inside a fragmented one', 1002, s => { s.sendFrame('{', { fin: false }); s.sendText(PING) })
closes('a fragmented ping', 1002, s => s.sendFrame('x', { opcode: OPCODE.ping, fin: false }))
closes('a ping of 126 bytes', 1002, s => s.sendFrame('x'.repeat(126), { opcode: OPCODE.ping }))
closes('a close of 126 bytes', 1002, s => s.sendFrame(Buffer.concat([u16(1000), Buffer.alloc(124, 97)]), { opcode: OPCODE.close }))
closes('a close of one byte', 1002, s => s.sendFrame('x', { opcode: OPCODE.close }))
for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) {
  closes(`a close with the code ${code}`, 1002, s => s.sendFrame(u16(code), { opcode: OPCODE.close }))
}

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
  test(`a close with ${code} is answered with the same`, async () => {
    const s = await open()
    assert.equal((await s.close(code)).code, code)
  }, { together: true })
}

test('a close without a code is answered', async () => {
  const s = await open()
  s.sendFrame('', { opcode: OPCODE.close })
  const how = await s.closed
  assert.ok([1000, 1005].includes(how.code), String(how.code))
}, { together: true })

test('a close with a reason of 123 bytes is answered', async () => {
  const s = await open()
  s.sendFrame(Buffer.concat([u16(1000), Buffer.from('é'.repeat(61) + 'x')]), { opcode: OPCODE.close })
  await s.expectClose(1000)
}, { together: true })

test('nothing behind a close is read', async () => {
  const s = await open()
  const probe = await open()
  s.sendRaw(Buffer.concat([encodeFrame(u16(1000), { opcode: OPCODE.close }), encodeFrame(JSON.stringify({ type: 'message', text: 'from the grave' }))]))
  s.closeSent = true
  await s.closed
  const said = await probe.say('alive')
  await probe.reaches(said.rev)
  assert.ok(!probe.log.some(f => f.text === 'from the grave'))
  await probe.close()
})

test('a message before a violation in the same write is stored, one behind it is not', async () => {
  const s = await open(), probe = await open()
  s.sendRaw(Buffer.concat([encodeFrame(JSON.stringify({ type: 'message', text: 'before', nonce: 'v' })), encodeFrame('x', { opcode: OPCODE.binary }),
    encodeFrame(JSON.stringify({ type: 'message', text: 'behind' }))]))
  await s.expectClose(1003)
  const said = await probe.say('witness')
  await probe.reaches(said.rev)
  assert.ok(probe.log.some(f => f.text === 'before'))
  assert.ok(!probe.log.some(f => f.text === 'behind'))
  await probe.close()
})

test('frames that come together with the handshake are read, and welcome is first all the same', async () => {
  const early = [{ type: 'ping', ref: 'early' }, { type: 'nonsense' }, { type: 'message', text: 'an early bird', nonce: 'bird' }, { type: 'ping', ref: 'last' }]
  for (let i = 0; i < 10; i++) {
    const conn = tcp(server)
    conn.write(Buffer.concat([Buffer.from(`GET /ws?token=${alice.token} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'), ...early.map(frame => encodeFrame(JSON.stringify(frame)))]))
    const text = await conn.wait(/"ref":"last"/)
    assert.match(text, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i)
    const at = ['"type":"welcome"', '"ref":"early"', '"unknown_type"', '"ref":"last"'].map(what => text.indexOf(what))
    assert.ok(at[0] > 0 && at.every((n, k) => k === 0 || n > at[k - 1]), `welcome is first, then the answers in order: ${at}`)
    conn.destroy()
  }
})
