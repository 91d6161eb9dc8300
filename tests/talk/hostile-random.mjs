// Promise: no bytes of a stranger or of a user stop the server or make it grow. Good requests and good frames are
// damaged at random (bytes changed, cut out, doubled, cut short) and sent in pieces; the server may answer what it likes
// but must go on for everybody else. The seed is printed; under the sanitizers this is a small fuzzer.

import assert from 'node:assert/strict'
import { PASSWORD, deflateMessage, encodeFrame, http, online, register, tcp } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { SLOW, random, measured, sleep, test } from '../support/suite.mjs'

const server = await startServer({ args: ['--deflate', 'on', '--max-sockets-per-user', '10000'] })
const alice = await register(server, 'alice'), bob = await register(server, 'bob')
const H = `127.0.0.1:${server.port}`
const body = JSON.stringify({ username: 'x', password: PASSWORD })

const REQUESTS = [
  `GET /healthz HTTP/1.1\r\nHost: ${H}\r\n\r\n`,
  `GET /login HTTP/1.1\r\nHost: ${H}\r\nAccept-Encoding: gzip, br;q=0.5\r\nIf-None-Match: "a", W/"b"\r\nCookie: a=b; chatterbox=${alice.token}; c\r\n\r\n`,
  `GET /api/rooms/1/messages?before=100&limit=20 HTTP/1.1\r\nHost: ${H}\r\nAuthorization: Bearer ${alice.token}\r\n\r\n`,
  `POST /api/login HTTP/1.1\r\nHost: ${H}\r\nOrigin: http://${H}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  `POST /api/login HTTP/1.1\r\nHost: ${H}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)};x=y\r\n${body}\r\n0\r\nT: u\r\n\r\n`,
  `PATCH /api/me HTTP/1.1\r\nHost: ${H}\r\nAuthorization: Bearer ${alice.token}\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status":"abc"}`,
  `GET /ws?token=${alice.token}&since=1&epoch=x HTTP/1.1\r\nHost: ${H}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n\r\n`,
]
const FRAMES = [
  { type: 'ping', ref: 'x' }, { type: 'message', text: 'hello 🐘', room: 1, nonce: 'n', reply: 5 }, { type: 'edit', id: 3, text: 'y' }, { type: 'delete', id: 3 }, { type: 'seen', room: 1, id: 9 },
  { type: 'typing', room: 1 }, { type: 'history', room: 1, before: 100, limit: 5, ref: 'h' },
].map(frame => JSON.stringify(frame))

/** Up to `most` random wounds. */
function damage(bytes, most) {
  let b = Buffer.from(bytes)
  for (let n = random.below(most + 1); n > 0 && b.length; n--) {
    const at = random.below(b.length), to = Math.min(b.length, at + 1 + random.below(12))
    switch (random.below(6)) {
      case 0: b[at] = random.below(256); break
      case 1: b[at] ^= 1 << random.below(8); break
      case 2: b = Buffer.concat([b.subarray(0, at), b.subarray(to)]); break
      case 3: b = Buffer.concat([b.subarray(0, to), b.subarray(at)]); break
      case 4: b = b.subarray(0, at); break
      case 5: b = Buffer.concat([b.subarray(0, at), Buffer.from(random.pick(['\r\n', '\0', '\r', '\n', ':', ' ', '%', '{', '"', '\xff\xfe', '9'.repeat(30)]), 'latin1'), b.subarray(at)]); break
    }
  }
  return b
}

const SHARE = SLOW > 4 ? 4 : 1 // of the rounds: under valgrind they outlast the patience of the server with who is silent

/** Writes in up to five pieces. */
async function dribble(write, bytes) {
  for (let at = 0; at < bytes.length;) {
    const to = Math.min(bytes.length, at + 1 + random.below(random.below(3) ? bytes.length : 20))
    write(bytes.subarray(at, to))
    at = to
    if (random.below(4) === 0) await new Promise(done => setImmediate(done))
  }
}

test('damaged HTTP requests', async () => {
  const before = server.rss()
  for (let i = 0; i < 60 / SHARE; i++) {
    await Promise.all(Array.from({ length: 12 }, async () => {
      const conn = tcp(server)
      const list = Array.from({ length: 1 + random.below(3) }, () => damage(random.pick(REQUESTS), 4))
      await dribble(data => conn.write(data), Buffer.concat(list))
      await sleep(random.below(10))
      conn.destroy()
    }))
  }
  assert.equal((await http(server, 'GET', '/healthz')).status, 200)
  assert.ok(!measured || server.rss() - before < 24 << 20, `grown by ${((server.rss() - before) / 1e6).toFixed(1)} MB`)
}, { timeout: 40_000 })

test('damaged frames, plain and compressed', async () => {
  const witness = await online(server, bob)
  for (let i = 0; i < 40 / SHARE; i++) {
    await Promise.all(Array.from({ length: 8 }, async () => {
      const s = await online(server, alice, { deflate: random.below(2) === 1, any: true })
      s.judge = () => { /* after hostile frames nothing is asked of the answers */ }
      for (let n = 0; n < 8 && !s.isClosed; n++) {
        const text = random.below(2) ? damage(random.pick(FRAMES), 3) : Buffer.from(random.pick(FRAMES))
        const zip = s.deflate && random.below(2)
        const frame = encodeFrame(zip ? damage(deflateMessage(text), 1) : text, { rsv: zip ? 4 : random.below(20) ? 0 : random.below(8), fin: random.below(12) > 0, opcode: random.below(12) ? 1 : random.below(16) })
        await dribble(data => s.sendRaw(data), random.below(3) ? frame : damage(frame, 2))
      }
      await sleep(random.below(10))
      s.cut()
    }))
  }
  const said = await witness.say('all is well')
  await witness.reaches(said.rev)
  await witness.close()
}, { timeout: 40_000 })
