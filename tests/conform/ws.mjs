// Promise: the WebSocket engine is RFC 6455 for every class of frames that a conformance suite sends: lengths, pings, reserved
// bits, opcodes, fragments, UTF-8, closes; and it says the same whichever way the bytes come: whole, one by one, cut at any
// place, half closed. A row is a script of frames and the story that must come of it. The echo server speaks for net/ws alone;
// the chat server is told the same scripts, with its own rules: no binary, 64 KiB.

import assert from 'node:assert/strict'
import { register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { sleep, test, random } from '../support/suite.mjs'
import { F, Peer, WAYS, cutAt, full, startEcho, tell, told, u16 } from '../support/peer.mjs'

const echo = await startEcho()
const chat = await startServer({ args: ['--deflate', 'on', '--max-sockets-per-user', '1000'] })
const alice = await register(chat, 'alice')

const rows = []
/** What is heard for a script that ends with an orderly close. */
const good = (name, script, ...heard) => rows.push({ name, script: [...script, F.close(1000)], story: [...heard, 'close 1000', 'end'], good: true })
/** What is heard before the server closes with `code`. */
const bad = (name, code, script, ...heard) => rows.push({ name, script, story: [...heard, `close ${code}`, 'end'], code })

const filler = (n, seed = 0) => Buffer.from(Array.from({ length: n }, (_, i) => 33 + (i * 7 + seed) % 90))
const anyBytes = n => Buffer.from(Array.from({ length: n }, (_, i) => (i * 151 + 200) & 255))

// --- lengths, at the edges of each form of the length field
for (const n of [0, 1, 2, 125, 126, 127, 128, 255, 256, 65535, 65536]) {
  good(`text of ${n} bytes`, [F.text(filler(n))], told('text', filler(n)))
  good(`binary of ${n} bytes`, [F.binary(anyBytes(n))], told('binary', anyBytes(n)))
}
bad('a short text with its length in 2', 1002, [F.text('abc', { lengthBytes: 2 })])
bad('a short text with its length in 8', 1002, [F.text('abc', { lengthBytes: 8 })])
good('a mask of zeros', [Buffer.concat([Buffer.from([0x81, 0x83, 0, 0, 0, 0]), Buffer.from('abc')])], 'text abc')
good('three messages', [F.text('a'), F.binary('b'), F.text('')], 'text a', 'binary b', 'text ')
bad('a length with its top bit set', 1002, [Buffer.concat([Buffer.from([0x81, 0xff, 0x80]), Buffer.alloc(11)])])
bad('no mask', 1002, [F.text('abc', { mask: false })])
bad('no mask on an empty ping', 1002, [F.ping('', { mask: false })])
bad('no mask behind a good message', 1002, [F.text('ok'), F.text('abc', { mask: false })], 'text ok')

// --- pings and pongs
for (const payload of ['', 'hello', Buffer.from([0, 255, 254, 253, 128, 0]), filler(124), filler(125)])
  good(`a ping of ${payload.length} bytes`, [F.ping(payload)], told('pong', Buffer.from(payload)))
good('ten pings', Array.from({ length: 10 }, (_, i) => F.ping(`p${i}`)), ...Array.from({ length: 10 }, (_, i) => `pong p${i}`))
good('a pong that nobody asked for', [F.pong('why'), F.pong()])
good('a pong, then a ping', [F.pong('why'), F.ping('mine')], 'pong mine')
bad('a ping of 126 bytes', 1002, [F.ping(filler(126))])
bad('a pong of 126 bytes', 1002, [F.pong(filler(126))])
bad('a ping of 70,000 bytes', 1002, [F.ping(filler(70_000))])
bad('a short ping with its length in 2', 1002, [F.ping('abc', { lengthBytes: 2 })])

// --- reserved bits
for (let rsv = 1; rsv <= 7; rsv++) {
  bad(`RSV ${rsv} on text`, 1002, [F.text('x', { rsv })])
  bad(`RSV ${rsv} on an empty binary behind a good text`, 1002, [F.text('ok'), F.binary('', { rsv }), F.ping()], 'text ok')
}
bad('RSV 1 on a ping', 1002, [F.ping('x', { rsv: 1 })])
bad('RSV 4 on a close', 1002, [F.close(1000, '', { rsv: 4 })])
bad('RSV 2 on a continuation', 1002, [F.beginText('x'), F.last('y', { rsv: 2 })])

// --- opcodes
for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  bad(`opcode ${opcode}, empty`, 1002, [F.text('', { opcode })])
  bad(`opcode ${opcode} behind a good text`, 1002, [F.text('ok'), F.text('payload', { opcode }), F.ping()], 'text ok')
}

// --- fragments
good('two fragments', [F.beginText('fra'), F.last('gment')], 'text fragment')
good('binary in fragments', [F.beginBinary(anyBytes(3)), F.middle(''), F.last(anyBytes(2))], told('binary', Buffer.concat([anyBytes(3), anyBytes(2)])))
good('empty fragments', [F.beginText(), F.middle(), F.middle('mid'), F.last()], 'text mid')
good('only empty fragments', [F.beginText(), F.middle(), F.last()], 'text ')
good('pings and pongs between fragments', [F.beginText('a'), F.ping('1'), F.middle('b'), F.ping('2'), F.pong('no'), F.last('c')], 'pong 1', 'pong 2', 'text abc')
good('twenty pings between two fragments', [F.beginText('a'), ...Array.from({ length: 20 }, (_, i) => F.ping(`${i}`)), F.last('b')], ...Array.from({ length: 20 }, (_, i) => `pong ${i}`), 'text ab')
good('a hundred fragments of a byte', [F.beginText('x'), ...Array.from({ length: 98 }, () => F.middle('x')), F.last('x')], told('text', 'x'.repeat(100)))
good('fragments, then a whole message', [F.beginText('a'), F.last('b'), F.text('c')], 'text ab', 'text c')
good('65,536 bytes in fragments of 1,300', [F.beginText(filler(65_536).subarray(0, 1300)),
  ...Array.from({ length: 49 }, (_, i) => F.middle(filler(65_536).subarray((i + 1) * 1300, (i + 2) * 1300))), F.last(filler(65_536).subarray(65_000))], told('text', filler(65_536)))
bad('a fragmented ping', 1002, [F.text('', { opcode: 9, fin: false }), F.last()])
bad('a fragmented pong', 1002, [F.text('x', { opcode: 10, fin: false })])
bad('a fragmented close', 1002, [F.text(u16(1000), { opcode: 8, fin: false })])
bad('a last continuation of nothing', 1002, [F.last('x'), F.text('y')])
bad('a continuation of nothing', 1002, [F.middle('x')])
bad('a continuation behind a whole message', 1002, [F.text('ok'), F.middle('x'), F.last('y')], 'text ok')
bad('text inside a fragmented text', 1002, [F.beginText('a'), F.text('b')])
bad('binary inside a fragmented text', 1002, [F.beginText('a'), F.beginBinary('b'), F.last('c')])
bad('a second beginning', 1002, [F.beginText('a'), F.beginText('b'), F.last('c')])

// --- UTF-8. One text whose characters have every length, and all that is no UTF-8, in each place that it can be cut.
const letters = Buffer.from('aé€𝄞κόσμε\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\ufffe\uffff\u{10000}\u{10ffff}')
good('characters of all lengths', [F.text(letters)], told('text', letters))
good('the same in fragments of a byte', [F.beginText(letters.subarray(0, 1)), ...Array.from(letters.subarray(1, -1), b => F.middle([b])), F.last(letters.subarray(-1))], told('text', letters))
good('fragments between characters', [F.beginText('κόσ'), F.ping('p'), F.last('με')], 'pong p', told('text', 'κόσμε'))
good('binary that is no UTF-8', [F.binary([0xff, 0xfe, 0xc0, 0x80])], told('binary', Buffer.from([0xff, 0xfe, 0xc0, 0x80])))
const nonsense = {
  'a lone continuation byte': [0x80], 'two of them': [0x80, 0xbf], 'a first byte alone, of two': [0xc3], 'of three': [0xe2, 0x82], 'of four': [0xf0, 0x9d, 0x84],
  'a first byte and a letter': [0xc3, 0x28], 'three bytes, the last a letter': [0xe2, 0x82, 0x28], 'four bytes, the third a letter': [0xf0, 0x9d, 0x28, 0x9e],
  'an overlong slash in two': [0xc0, 0xaf], 'in three': [0xe0, 0x80, 0xaf], 'in four': [0xf0, 0x80, 0x80, 0xaf], 'in five': [0xf8, 0x80, 0x80, 0x80, 0xaf], 'in six': [0xfc, 0x80, 0x80, 0x80, 0x80, 0xaf],
  'an overlong NUL': [0xc0, 0x80], 'the largest overlong of two': [0xc1, 0xbf], 'of three ': [0xe0, 0x9f, 0xbf], 'of four ': [0xf0, 0x8f, 0xbf, 0xbf],
  'the first surrogate': [0xed, 0xa0, 0x80], 'the last surrogate': [0xed, 0xbf, 0xbf], 'a pair of surrogates': [0xed, 0xa0, 0x81, 0xed, 0xb0, 0x80],
  'U+110000': [0xf4, 0x90, 0x80, 0x80], 'U+1FFFFF': [0xf7, 0xbf, 0xbf, 0xbf], 'five bytes': [0xf8, 0x88, 0x80, 0x80, 0x80], 'six bytes': [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf],
  'FE': [0xfe], 'FF': [0xff], 'Latin-1': [0x66, 0xfc, 0x72],
}
for (const [name, bytes] of Object.entries(nonsense)) {
  bad(`UTF-8: ${name}`, 1007, [F.text(bytes)])
  bad(`UTF-8: ${name}, behind good letters and in fragments of a byte`, 1007,
    [F.beginText('κ'), ...bytes.map(b => F.middle([b])), F.last('')])
  bad(`UTF-8: ${name}, in a close reason`, 1007, [F.close(1000, Buffer.from(bytes))])
}

// --- closes. All the codes that may be on the wire are answered with the same, all others are errors.
good('only a close', [])
rows.push({ name: 'a close without a code', script: [F.close()], story: ['close', 'end'], good: true })
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
  rows.push({ name: `a close with ${code}`, script: [F.close(code, 'why')], story: [`close ${code}`, 'end'], good: true })
for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 32768, 65535]) bad(`a close with ${code}`, 1002, [F.close(code)])
good('a close reason of 123 bytes', [F.close(1000, filler(123))])
bad('a close of 126 bytes', 1002, [F.close(1000, filler(124))])
bad('a close of one byte', 1002, [F.text('x', { opcode: 8 })])
good('two closes', [F.close(1000)])
good('a close inside a fragmented message', [F.beginText('a')])
for (const [what, frame] of [['text', F.text('late')], ['a ping', F.ping('late')], ['an error', F.text('late', { rsv: 7 })], ['64 KiB', F.text(filler(65_536))]])
  rows.push({ name: `${what} behind a close`, script: [F.close(1000), frame], story: ['close 1000', 'end'], good: true })

// The chat server has text frames of JSON only: what is no JSON gets an error frame, and a binary frame ends it.
const chatStory = row => {
  const binary = row.story.findIndex(s => s.startsWith('binary '))
  if (binary >= 0) return [...row.story.slice(0, binary), 'close 1003', 'end']
  return row.story
}
const binaryFirst = row => row.script.some(f => (f[0] & 15) === 2)

/** The way that a row goes, and its story there. */
async function check(row, how, way) {
  const wanted = row.story.join(', ')
  assert.equal(await tell(echo, row.script, way), wanted, how)
}

async function checkChat(row, way) {
  let greeted = false
  const heard = []
  const onMessage = (kind, payload) => {
    const frame = JSON.parse(payload)
    if (frame.type === 'ready') greeted = true
    else if (frame.type === 'error') heard.push(frame.code)
  }
  const peer = await new Peer(chat, { path: `/ws?token=${alice.token}`, keep: false, onMessage }).open()
  try {
    await peer.until('ready', () => greeted)
    await way(peer, Buffer.concat(row.script))
    const story = await peer.all()
    // Each text got an error of its own; apart from that it is the same story.
    const wanted = chatStory(row)
    assert.equal(story, wanted.filter(s => !s.startsWith('text ')).join(', '))
    assert.equal(heard.length, wanted.filter(s => s.startsWith('text ')).length)
    assert.ok(heard.every(code => code === 'bad_json'), heard.join())
  } finally { peer.tcp.destroy() }
}

for (const row of rows) {
  const bytes = Buffer.concat(row.script).length
  test(`${row.name}: ${row.story.join(', ').slice(0, 80)}`, async () => {
    await check(row, 'whole', WAYS.whole)
    await check(row, 'half closed', WAYS['half closed behind it'])
    if (bytes < 2000) await check(row, 'byte by byte', WAYS['byte by byte'])
    if (bytes >= 2000 || full) await check(row, 'in random pieces', bytes < 5000 ? WAYS['in random pieces'] : cutAt(random.below(bytes)))
    const cuts = bytes > 400 ? Array.from({ length: full ? 20 : 2 }, () => random.below(bytes)) : full ? Array.from({ length: bytes }, (_, i) => i) : [random.below(bytes), random.below(bytes)]
    for (const at of cuts) await check(row, `cut at ${at}`, cutAt(at))
    if (!row.script.some(f => f.length > 65_550) && !(binaryFirst(row) && row.code)) await checkChat(row, WAYS.whole)
  }, { together: true, timeout: full ? 120_000 : 30_000 })
}

// --- what needs a clock or two hands

test('invalid UTF-8 ends the connection when its first impossible byte comes, not when the message ends', async () => {
  const begun = 'κόσμε', wrong = [0xf4, 0x90]
  const frame = F.text(Buffer.concat([Buffer.from(begun), Buffer.from([...wrong, 0x80, 0x80]), Buffer.from('edited')]))
  const at = frame.length - 6 - 2 // behind the byte that makes it impossible
  for (const [first, second] of [
    [Buffer.concat([F.beginText(begun), F.ping('alive')]), F.middle(wrong)],
    [Buffer.concat([F.beginText(Buffer.concat([Buffer.from(begun), Buffer.from([0xf4])])), F.ping('alive')]), F.middle([0x90])],
    [frame.subarray(0, at - 1), frame.subarray(at - 1, at)],
  ]) {
    const peer = await new Peer(echo).open()
    peer.write(first)
    if (first.length !== at - 1) await peer.until('the pong', () => peer.story.includes('pong alive'))
    assert.ok(!peer.closed)
    peer.write(second)
    assert.match(await peer.all(), /close 1007, end$/)
  }
})

test('a frame that is not whole is not answered, and a cut in every place of a message does no harm', async () => {
  const bytes = Buffer.concat([F.beginText('some text'), F.ping('p'), F.last('more')])
  for (let at = 0; at < bytes.length; at++) {
    const peer = await new Peer(echo).open()
    peer.write(bytes.subarray(0, at))
    if (at % 2) peer.tcp.resetAndDestroy?.() ?? peer.tcp.destroy()
    else { peer.tcp.end(); await peer.ended }
    assert.ok(!peer.story.some(s => s.startsWith('text')))
  }
  assert.equal(await tell(echo, [F.text('still here'), F.close(1000)], WAYS.whole), 'text still here, close 1000, end')
}, { timeout: 30_000 })

test('hundreds of small messages in one write come back in order', async () => {
  const n = 2000
  const wanted = Array.from({ length: n }, (_, i) => `text m${i}`)
  assert.equal(await tell(echo, [...Array.from({ length: n }, (_, i) => F.text(`m${i}`)), F.close(1000)], WAYS.whole), [...wanted, 'close 1000', 'end'].join(', '))
})

test('who shuts its side and then reads slowly gets all of its answer, and the close frame', async () => {
  // More than the kernel takes on both sides, and of many lengths: some fill its buffer to the brim, and leave no room for the close.
  const longest = filler(540_000)
  await Promise.all(Array.from({ length: 40 }, async (_, i) => {
    const text = longest.subarray(0, 500_000 + i * 997)
    const peer = await new Peer(echo).open()
    peer.tcp.pause()
    peer.tcp.end(Buffer.concat([F.text(text), F.close(1000)]))
    await sleep(200)
    peer.tcp.resume()
    assert.equal(await peer.all(), `${told('text', text)}, close 1000, end`, `${text.length} bytes`)
  }))
}, { timeout: 30_000 })

test('what is no handshake gets no WebSocket', async () => {
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n', version = 'Sec-WebSocket-Version: 13\r\n', both = 'Upgrade: websocket\r\nConnection: Upgrade\r\n'
  const { raw } = await import('../support/client.mjs')
  for (const [first, lines] of [
    ['GET / HTTP/1.1', both + version], ['GET / HTTP/1.1', both + key], ['GET / HTTP/1.1', `Connection: Upgrade\r\n${key}${version}`], ['GET / HTTP/1.1', `Upgrade: websocket\r\n${key}${version}`],
    ['GET / HTTP/1.1', `${both}${version}Sec-WebSocket-Key: short==\r\n`], ['GET / HTTP/1.1', `${both}${version}${key}${key}`], ['GET / HTTP/1.1', `${both}${key}Sec-WebSocket-Version: 12\r\n`],
    ['GET / HTTP/1.1', `Upgrade: h2c\r\nConnection: Upgrade\r\n${key}${version}`], ['POST / HTTP/1.1', both + key + version], ['GET / HTTP/1.0', both + key + version],
    ['GET / HTTP/1.1', `${both}${version}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n`], ['GET / HTTP/1.1', `${both}${version}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n`],
  ]) {
    const [res] = await raw(echo, `${first}\r\nHost: localhost\r\n${lines}\r\n`)
    assert.equal(res.status, 426, lines)
    assert.match(res.headers.upgrade, /^websocket$/)
    assert.match(res.headers.connection, /upgrade/i)
  }
})
