// Promise: messages up to 16 MiB in one frame or in 65,536 fragments, in pieces of any size, come back whole; compressed ones
// under every offer that a client can make (RFC 7692), in fragments too; and one who does not read what it asked for costs one
// message of memory. CONFORM=full takes a thousand messages of each size and offer, else a few.

import { deflateRawSync, constants } from 'node:zlib'
import assert from 'node:assert/strict'
import { test, random, measured } from '../support/suite.mjs'
import { F, Peer, full, startEcho, told } from '../support/peer.mjs'

const echo = await startEcho()
const MiB = 1 << 20

/** Text like a log of chat: repeats itself, but never for long; with characters of every length. */
const words = 'the a of and Grüße naïve κόσμε 語 🐘 to in is you that it 42 for on are as with his they I'.split(' ')
function prose(bytes) {
  const parts = []
  for (let n = 0; n < bytes;) { const w = `${random.pick(words)} `; parts.push(w); n += Buffer.byteLength(w) }
  const all = Buffer.from(parts.join(''))
  let end = bytes
  while (end > 0 && (all[end] & 0xc0) === 0x80) end--
  return Buffer.concat([all.subarray(0, end), Buffer.alloc(bytes - end, 46)])
}
function noise(bytes) {
  const out = Buffer.alloc(bytes)
  for (let i = 0; i + 4 <= bytes; i += 4) out.writeUInt32LE(random.next() * 4294967296 >>> 0, i)
  return out
}
const text = prose(MiB), bytes = noise(MiB)
const cut = (from, n) => n <= MiB ? from.subarray(0, n) : Buffer.concat(Array(n / MiB).fill(from))
const textOf = n => n < MiB ? prose(n) : cut(text, n)

/** Sends frames as they are in pieces of `chop` bytes, and hears one message. */
async function comesBack(what, payload, frames, chop = 0) {
  const peer = await new Peer(echo).open()
  try {
    for (const frame of frames) {
      for (let i = 0; i < frame.length; i += chop || frame.length) {
        const wait = peer.write(frame.subarray(i, i + (chop || frame.length)))
        if (wait) await wait
        else if (chop && i / chop % 64 === 0) await new Promise(done => setImmediate(done))
      }
    }
    peer.write(F.close(1000))
    assert.equal(await peer.all(120_000), [told(what, payload), 'close 1000', 'end'].join(', '))
  } finally { peer.tcp.destroy() }
}

const fragments = (what, payload, size) => {
  const list = []
  for (let i = 0; i < payload.length; i += size) {
    const part = payload.subarray(i, i + size), last = i + size >= payload.length
    list.push(i === 0 ? (last ? F[what](part) : what === 'text' ? F.beginText(part) : F.beginBinary(part)) : last ? F.last(part) : F.middle(part))
  }
  return list
}

const long = { timeout: full ? 300_000 : 60_000 }
for (const n of full ? [MiB / 16, MiB / 4, MiB, 4 * MiB, 8 * MiB, 16 * MiB] : [MiB / 4, 16 * MiB]) {
  test(`text of ${n} bytes`, () => { const p = textOf(n); return comesBack('text', p, [F.text(p)]) }, long)
  test(`binary of ${n} bytes`, () => { const p = cut(bytes, n); return comesBack('binary', p, [F.binary(p)]) }, long)
}
for (const size of full ? [64, 256, 1024, 4096, 16_384, 65_536, 262_144, MiB, 4 * MiB] : [64]) {
  test(`4 MiB of text in fragments of ${size}`, () => { const p = cut(text, 4 * MiB); return comesBack('text', p, [Buffer.concat(fragments('text', p, size))]) }, long)
  if (full) test(`4 MiB of binary in fragments of ${size}`, () => { const p = cut(bytes, 4 * MiB); return comesBack('binary', p, [Buffer.concat(fragments('binary', p, size))]) }, long)
}
for (const chop of full ? [1, 64, 128, 256, 512, 1024, 2048] : [1, 64]) {
  const n = chop === 1 ? MiB / 32 : full ? MiB : MiB / 8
  test(`${n} bytes of text written ${chop} at a time`, () => { const p = textOf(n); return comesBack('text', p, [F.text(p)], chop) }, long)
  test(`${n} bytes of binary written ${chop} at a time`, () => { const p = cut(bytes, n); return comesBack('binary', p, [F.binary(p)], chop) }, long)
}
test('a frame of the largest size and one byte more', async () => {
  const p = cut(bytes, 16 * MiB)
  const peer = await new Peer(echo).open()
  peer.write(Buffer.concat([F.binary('small'), F.binary(p, { length: 16 * MiB + 1 }).subarray(0, 15)]))
  assert.equal(await peer.all(), 'binary small, close 1009, end')
}, long)
test('65,536 fragments are a message, 65,537 are too many, however small', async () => {
  const middle = Buffer.concat(Array(65_534).fill(F.middle('x')))
  await comesBack('text', Buffer.from('x'.repeat(65_536)), [F.beginText('x'), middle, F.last('x')])
  await comesBack('text', Buffer.from('x'.repeat(65_536)), [F.beginText('x'), middle, F.middle('x'), F.last('')])
  const peer = await new Peer(echo).open()
  peer.write(Buffer.concat([F.beginText(''), middle, F.middle(''), F.last('x')]))
  assert.equal(await peer.all(), 'close 1009, end')
}, long)

// --- compression

const pack = (payload, windowBits) => deflateRawSync(payload, { windowBits, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
const NONE = 'server_no_context_takeover; client_no_context_takeover'
const P = 'permessage-deflate'

/** [offer, what the server must answer (null: nothing), the client's window] */
const offers = [
  [P, `${P}; ${NONE}`],
  [`${P}; client_max_window_bits`, `${P}; ${NONE}`],
  [`${P}; server_no_context_takeover`, `${P}; ${NONE}`],
  [`${P}; client_no_context_takeover`, `${P}; ${NONE}`],
  [`${P}; ${NONE}; server_max_window_bits=15; client_max_window_bits=15`, `${P}; ${NONE}; server_max_window_bits=15`],
  ...[9, 10, 11, 12, 13, 14, 15].flatMap(bits => [
    [`${P}; server_max_window_bits=${bits}`, `${P}; ${NONE}; server_max_window_bits=${bits}`],
    [`${P}; client_max_window_bits=${bits}`, `${P}; ${NONE}`, bits],
  ]),
  [`${P}; server_max_window_bits=8`, `${P}; ${NONE}; server_max_window_bits=8`],
  [`${P}; server_max_window_bits="10"; client_max_window_bits`, `${P}; ${NONE}; server_max_window_bits=10`],
  [`${P}; server_no_context_takeover; server_max_window_bits=9, ${P}; server_no_context_takeover, ${P}`, `${P}; ${NONE}; server_max_window_bits=9`],
  [`${P}; server_max_window_bits=16, ${P}; unheard, ${P}; client_max_window_bits`, `${P}; ${NONE}`],
  [`x-other; a=1, ${P}`, `${P}; ${NONE}`],
]
const refusedOffers = ['x-other', `${P}; unheard`, `${P}; server_max_window_bits`, `${P}; server_max_window_bits=7`, `${P}; server_max_window_bits=16`, `${P}; server_max_window_bits=09`,
  `${P}; client_max_window_bits=`, `${P}; client_max_window_bits=0`, `${P}; server_no_context_takeover=true`, `${P}; server_no_context_takeover; server_no_context_takeover`,
  `${P}; server_max_window_bits=10; server_max_window_bits=10`, `${P};`, `${P}x`, `${P}; server_max_window_bits=+9`, 'permessage_deflate']

/** `count` compressed messages, one after another; the next is sent when the last is back. */
async function packed(offer, wanted, windowBits, sizes, count, fragment, what = 'text') {
  let expected, back = 0
  const peer = await new Peer(echo, { offer, keep: false, onMessage: (kind, payload) => { assert.equal(kind, what); assert.ok(payload.equals(expected), 'the same bytes'); back++ } }).open()
  try {
    assert.equal(peer.deflate, wanted)
    const from = what === 'text' ? text : bytes
    for (const size of sizes) {
      for (let i = 0; i < count; i++) {
        expected = what === 'text' ? prose(size < 4096 ? size : 0) : null
        if (size >= 4096 || what !== 'text') { const at = random.below(MiB - size); expected = what === 'text' ? Buffer.from(from.subarray(at, at + size).toString('latin1').replace(/[^ -~]/g, '.')) : from.subarray(at, at + size) }
        const data = pack(expected, windowBits)
        const frames = fragment ? fragments(what, data, fragment) : [F[what](data)]
        frames[0][0] |= 0x40
        const n = back
        peer.write(Buffer.concat(frames))
        await peer.until('the echo', () => back > n)
      }
    }
    peer.write(F.close(1000))
    assert.equal(await peer.all(), 'close 1000, end')
    const bits = Number(/server_max_window_bits=(\d+)/.exec(wanted)?.[1] ?? 15)
    if (what === 'text' && bits >= 13 && sizes.some(s => s >= 1024)) assert.ok(peer.packed > 0, 'what can be packed is')
  } finally { peer.tcp.destroy() }
}

const sizes = full ? [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072] : [0, 16, 1024, 32_768]
for (const [offer, wanted, bits = 15] of offers) {
  test(`the offer ${offer}`, async () => {
    await packed(offer, wanted, bits, sizes, full ? 100 : 1, 0)
    await packed(offer, wanted, bits, full ? sizes : [8192], full ? 30 : 1, 256)
  }, long)
}
for (const fragment of full ? [0, 256, 1024, 4096, 32_768] : [0, 1024]) {
  test(`compressed, in fragments of ${fragment || 'any size'}`, async () => {
    await packed(P, `${P}; ${NONE}`, 15, [131_072], full ? 1000 : 2, fragment)
    await packed(P, `${P}; ${NONE}`, 15, [131_072], full ? 1000 : 2, fragment, 'binary')
  }, long)
}
test('offers that cannot be kept are declined, and the connection works without', async () => {
  for (const offer of refusedOffers) {
    const peer = await new Peer(echo, { offer }).open()
    assert.equal(peer.deflate, null, offer)
    peer.write(Buffer.concat([F.text('plain'), F.close(1000)]))
    assert.equal(await peer.all(), 'text plain, close 1000, end')
  }
})
for (const [what, code, frames] of [
  ['bytes that do not inflate', 1007, [F.text([0x07, 0xff, 0xff, 0x12], { rsv: 4 })]],
  ['invalid UTF-8 inside', 1007, [F.text(pack(Buffer.from([0xc3, 0x28])), { rsv: 4 })]],
  ['RSV1 on a continuation', 1002, [F.beginText(pack(Buffer.from('a')), { rsv: 4 }), F.last('', { rsv: 4 })]],
  ['RSV1 on a ping', 1002, [F.ping('x', { rsv: 4 })]],
  ['RSV2', 1002, [F.text('x', { rsv: 2 })]],
  ['a bomb', 1009, [F.binary(pack(Buffer.alloc(64 * MiB)), { rsv: 4 })]],
]) {
  test(`compressed: ${what} closes ${code}`, async () => {
    const peer = await new Peer(echo, { offer: P }).open()
    peer.write(Buffer.concat(frames))
    assert.equal(await peer.all(), `close ${code}, end`)
  })
}
test('plain and compressed messages, empty ones, final blocks and control frames, mixed', async () => {
  const peer = await new Peer(echo, { offer: P }).open()
  const long = prose(5000), data = pack(long)
  const final = Buffer.concat([deflateRawSync(Buffer.from('final')), Buffer.from([0])])
  peer.write(Buffer.concat([F.text('plain'), F.text(pack(Buffer.from('packed')), { rsv: 4 }), F.text([0], { rsv: 4 }), F.text('', { rsv: 4 }), F.text(final, { rsv: 4 }),
    F.beginText(data.subarray(0, 7), { rsv: 4 }), F.ping('p'), F.middle(''), F.last(data.subarray(7)), F.text('bye'), F.close(1000)]))
  assert.equal(await peer.all(), ['text plain', 'text packed', 'text ', 'text ', 'text final', 'pong p', told('text', long), 'text bye', 'close 1000', 'end'].join(', '))
})

// --- one who does not read

test('a peer that reads nothing costs one message of memory, and gets everything when it reads at last', async () => {
  const p = cut(bytes, 4 * MiB), n = full ? 24 : 10
  const before = echo.rss()
  let back = 0
  const peer = await new Peer(echo, { deaf: true, keep: false, onMessage: (_, payload) => { assert.ok(payload.equals(p)); back++ } }).open()
  const frame = F.binary(p)
  for (let i = 0; i < n; i++) peer.tcp.write(frame)
  await new Promise(done => setTimeout(done, 300))
  if (measured) assert.ok(echo.rss() - before < 40 * MiB, `grew by ${(echo.rss() - before) / MiB} MiB`)
  peer.tcp.resume()
  await peer.until('all of them', () => back === n, 60_000)
  peer.write(F.close(1000))
  assert.equal(await peer.all(), 'close 1000, end')
}, { timeout: 90_000 })

test('round trips: many small messages one after another', async () => {
  for (const size of [0, 16, 64, 256, 1024, 4096]) {
    for (const what of ['text', 'binary']) {
      let back = 0
      const peer = await new Peer(echo, { keep: false, onMessage: () => back++ }).open()
      for (let i = 0; i < (full ? 1000 : 50); i++) {
        peer.write(F[what](bytes.subarray(0, size).map(b => what === 'text' ? b & 0x7f : b)))
        await peer.until('the echo', () => back > i)
      }
      peer.write(F.close(1000))
      assert.equal(await peer.all(), 'close 1000, end')
    }
  }
}, long)
