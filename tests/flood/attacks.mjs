// The attacks of `make flood`: each goes on until `over()`, and then tells what the server answered as counts by name. They know nothing
// of good clients or of what is measured; run.mjs does. `scale` is how many take part. An attack that `prepares` calls `ready()` when what is to be measured
// begins, and with `room` good clients talk in a room of their own, for the attackers are not to be their readers.

import { connect } from 'node:net'
import { deflateRawSync, constants } from 'node:zlib'
import { call, http, login, online, register } from '../support/client.mjs'
import { OPCODE, encodeFrame, ws } from '../support/socket.mjs'
import { sleep } from '../support/suite.mjs'

const HOST = 'Host: 127.0.0.1\r\n'

/** A connection that counts what comes of it: `status 503`, `closed`, `reset`. */
function stranger(server, count, { read = true } = {}) {
  const socket = connect({ host: server.host, port: server.port })
  const add = what => { count[what] = (count[what] ?? 0) + 1 }
  let first = true
  if (read) socket.on('data', bytes => { if (first) add(`status ${/^HTTP\/1\.1 (\d+)/.exec(bytes.toString('latin1'))?.[1]}`); first = false })
  socket.on('error', () => add('reset'))
  socket.on('close', () => add('closed'))
  return socket
}

const many = (n, make) => Array.from({ length: n }, (_, i) => make(i))

/** Keeps `scale` connections busy with a byte now and then. */
async function trickle(server, { over, scale }, head, drop) {
  const count = {}, sockets = many(scale, () => stranger(server, count))
  for (const s of sockets) s.write(head)
  while (!over()) {
    for (const s of sockets) if (!s.destroyed) s.write(drop)
    await sleep(250)
  }
  sockets.forEach(s => s.destroy())
  return count
}

const handshake = (token, query = '') => `GET /ws?token=${token}${query} HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** Waits until each has been answered or is gone, `ms` at most. */
async function answered(sockets, ms) {
  for (const end = Date.now() + ms; Date.now() < end && sockets.some(s => !s.destroyed && !s.bytesRead);) await sleep(50)
}

const zeros = n => deflateRawSync(Buffer.alloc(n, 0x20), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)

/** A socket that opens, does its worst, and is opened anew when it has been closed: counts the close codes. */
async function again(server, { over, scale, people }, worst, options = {}) {
  const count = {}
  await Promise.all(many(scale, async i => {
    while (!over()) {
      let s
      try { s = await ws(server, { token: people[i % people.length].token, ...options }) } catch (e) {
        count[`refused ${e.status ?? ''}`] = (count[`refused ${e.status ?? ''}`] ?? 0) + 1
        await sleep(50)
        continue
      }
      await Promise.race([worst(s, count), s.closed])
      if (!s.isClosed) await Promise.race([s.closed, sleep(500)])
      const code = s.isClosed ? (await s.closed).code : 'open'
      count[`close ${code}`] = (count[`close ${code}`] ?? 0) + 1
      for (const f of s.log ?? []) if (f.type === 'error') count[`error ${f.code}`] = (count[`error ${f.code}`] ?? 0) + 1
      s.cut()
    }
  }))
  return count
}

export const attacks = {
  'slow heads': { act: (server, how) => trickle(server, how, `GET / HTTP/1.1\r\n${HOST}X-Slow: `, 'x') },
  'slow bodies': {
    act: (server, how) => trickle(server, how, `POST /api/login HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{`, ' '),
  },
  'half-open': {
    act: async (server, { over, scale }) => {
      const count = {}, sockets = many(scale * 3, () => stranger(server, count))
      while (!over()) await sleep(50)
      sockets.forEach(s => s.destroy())
      return count
    },
  },
  'idle sockets': {
    prepares: true,
    room: true,
    args: ['--max-sockets', '12000'],
    act: async (server, { over, scale, people, ready }) => {
      const count = {}, sockets = []
      for (const n = scale < 100 ? scale * 10 : 10_000; sockets.length < n;) {
        const some = many(Math.min(200, n - sockets.length), i => stranger(server, count))
        some.forEach((s, i) => s.write(handshake(people[i % people.length].token)))
        await answered(some, 10_000)
        sockets.push(...some)
      }
      ready()
      while (!over()) await sleep(50)
      sockets.forEach(s => s.destroy())
      return count
    },
    must: ['status 101'],
  },
  'slow readers': {
    act: async (server, { over, scale, people }) => {
      const count = {}
      const get = `GET /api/rooms/1/messages?limit=200 HTTP/1.1\r\n${HOST}Authorization: Bearer ${people[0].token}\r\n\r\n`
      const sockets = many(Math.min(scale, 60), () => stranger(server, count, { read: false }).pause())
      for (const s of sockets) s.write(get.repeat(100))
      const readers = await Promise.all(many(Math.min(20, scale), i => online(server, people[i % people.length])))
      readers.forEach(s => s.pause())
      while (!over()) await sleep(50)
      sockets.forEach(s => s.destroy())
      readers.forEach(s => s.cut())
      return count
    },
  },
  'connection storm': {
    room: true,
    act: async (server, { over, scale, people }) => {
      const count = {}
      const { epoch, rev } = await call(server, 'GET', '/api/me', { token: people[0].token }, 200)
      while (!over()) {
        // Every other one knows where it was, as who has only lost its connection does.
        const sockets = many(scale * 4, i => {
          const s = stranger(server, count)
          s.write(handshake(people[i % people.length].token, i % 2 ? `&since=${rev}&epoch=${epoch}` : ''))
          return s
        })
        // All at once, and when all have their answer (or have waited long enough) all at once again.
        await answered(sockets, 5000)
        sockets.forEach(s => s.destroy())
        await sleep(100)
      }
      return count
    },
    must: ['status 101'],
  },
  'login flood': {
    act: async (server, { over, scale }) => {
      const count = {}
      await Promise.all(many(Math.min(scale, 100), async i => {
        for (let n = 0; !over(); n++) {
          const res = await http(server, 'POST', '/api/login', { json: { username: `nobody${i}-${n}`, password: 'wrong password' } }).catch(() => ({ status: 'cut' }))
          count[`status ${res.status}`] = (count[`status ${res.status}`] ?? 0) + 1
        }
      }))
      return count
    },
    must: ['status 401', 'status 429'],
  },
  'message flood': {
    act: (server, how) => again(server, { ...how, scale: Math.min(how.scale, 8) }, async s => {
      for (let i = 0; i < 400; i++) s.sendText('{"type":"message","text":"flood flood flood"}')
      await sleep(300)
    }),
    must: ['error rate_limited', 'close 1008'],
  },
  'huge and deep JSON': {
    act: (server, how) => again(server, { ...how, scale: Math.min(how.scale, 8) }, async (s, count) => {
      const deep = '{"a":'.repeat(10_000), wide = `{"text":[${'0,'.repeat(30_000)}0]}`
      const res = await http(server, 'POST', '/api/login', { body: deep, headers: { 'Content-Type': 'application/json' } })
      count[`status ${res.status}`] = (count[`status ${res.status}`] ?? 0) + 1
      for (let i = 0; i < 3; i++) s.sendText(i % 2 ? deep : wide)
      await sleep(50)
      s.sendFrame('x'.repeat(70_000))
    }),
    must: ['status 400', 'error bad_json', 'close 1009'],
  },
  'zip bombs': {
    act: (() => {
      const bomb = zeros(60 << 20) // 60 MB in 60 KB
      return (server, how) => again(server, { ...how, scale: Math.min(how.scale, 8) }, async s => { s.sendFrame(bomb, { rsv: 4 }) }, { deflate: true })
    })(),
    must: ['close 1009'],
  },
  'ping flood': {
    act: (server, how) => again(server, { ...how, scale: Math.min(how.scale, 8) }, async s => {
      const pings = Buffer.concat(many(500, () => encodeFrame('p'.repeat(100), { opcode: OPCODE.ping })))
      s.pause() // the pongs are not read either
      for (let i = 0; i < 20; i++) s.sendRaw(pings)
      await sleep(300)
    }),
  },
  'pong flood': {
    act: async (server, { over, scale, people }) => {
      // As much as the server takes: with a rate that is little. Nothing comes back that would have to be read.
      const count = { pieces: 0 }, piece = Buffer.concat(many(12_000, () => encodeFrame('', { opcode: OPCODE.pong })))
      const sockets = await Promise.all(many(Math.min(scale, 16), i => ws(server, { token: people[i % people.length].token })))
      await Promise.all(sockets.map(async s => {
        for (; !over() && !s.isClosed; await sleep(1)) {
          if (s.tcp.writableLength) continue
          s.sendRaw(piece)
          count.pieces++
        }
        s.cut()
      }))
      return count
    },
    must: ['pieces'],
  },
}

/** The people in whose names some attacks are made. */
export const accomplices = async (server, n) => {
  const list = []
  for (let i = 0; i < n; i++) list.push(await register(server, `mob${i}`).catch(() => login(server, `mob${i}`)))
  return list
}
