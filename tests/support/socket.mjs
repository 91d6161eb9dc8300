// A WebSocket by hand (RFC 6455, RFC 7692) that can also say what it must not: frames without a mask, with any opcode,
// RSV bits or length. It checks the server's framing, and that `rev` rises strictly, on its own in every test.

import { createHash, randomBytes } from 'node:crypto'
import { connect as netConnect } from 'node:net'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import assert from 'node:assert/strict'
import { parseResponses } from './http.mjs'
import { within } from './suite.mjs'

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }

/** One client frame as bytes; everything that could be wrong with it can be asked for. */
export function encodeFrame(payload, { opcode = OPCODE.text, fin = true, rsv = 0, mask = true, length, lengthBytes } = {}) {
  const data = Buffer.from(payload)
  const size = length ?? data.length
  const form = lengthBytes ?? (size < 126 ? 0 : size < 65536 ? 2 : 8)
  const head = Buffer.alloc(2 + form + (mask ? 4 : 0))
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  head[1] = (mask ? 0x80 : 0) | (form === 0 ? size : form === 2 ? 126 : 127)
  if (form === 2) head.writeUInt16BE(size, 2)
  if (form === 8) head.writeBigUInt64BE(BigInt(size), 2)
  if (!mask) return Buffer.concat([head, data])
  const key = randomBytes(4)
  key.copy(head, 2 + form)
  const masked = Buffer.alloc(data.length)
  for (let i = 0; i < data.length; i++) masked[i] = data[i] ^ key[i & 3]
  return Buffer.concat([head, masked])
}

export const deflateMessage = text => deflateRawSync(Buffer.from(text), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
export const inflateMessage = bytes =>
  inflateRawSync(Buffer.concat([bytes, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH }).toString()

const LOG_FRAMES = new Set(['message', 'room', 'user'])

/**
 * A WebSocket. What came and was not asked for yet is in `frames`, everything that ever came in `log`.
 *   next(what)   the first waiting frame of this type (or for which `what(frame)` holds), taken out; others stay
 *   send(object) a text frame; `sendText`, `sendFrame(payload, options)`, `sendRaw(bytes)` for the rest
 *   reaches(rev) waits by ping until the connection's position is `rev`: afterwards what is not there will not come
 *   closed       a promise of `{code, reason}`; code 1006 when there was no close frame
 */
export class Socket {
  constructor(server, options) {
    this.server = server
    this.options = options
    this.frames = []
    this.log = []
    this.position = null
    this.fault = null
    this.wake = new Set()
    this.buffer = Buffer.alloc(0)
    this.fragments = null
    this.refs = 0
    this.isClosed = false
    this.deflate = null
    this.pongs = []
    this.pings = 0
    this.bytesRead = 0
  }

  /** Resolves with the response of the handshake; status 101 means that the socket is open. */
  handshake() {
    const { token, bearer, cookie, since, epoch, max, origin, deflate, headers = {}, query = {}, localAddress, host } = this.options
    const params = new URLSearchParams()
    if (token) params.set('token', token)
    if (since !== undefined && since !== null) params.set('since', since)
    if (epoch) params.set('epoch', epoch)
    if (max !== undefined) params.set('max', max)
    for (const [key, value] of Object.entries(query)) params.set(key, value)
    const key = randomBytes(16).toString('base64')
    const lines = {
      Host: host ?? `${this.server.host.includes(':') ? `[${this.server.host}]` : this.server.host}:${this.server.port}`,
      Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key,
    }
    if (bearer) lines.Authorization = `Bearer ${bearer}`
    if (cookie) lines.Cookie = `chatterbox=${cookie}`
    if (origin !== undefined) lines.Origin = origin
    if (deflate) lines['Sec-WebSocket-Extensions'] = deflate === true ? 'permessage-deflate' : deflate
    for (const [name, value] of Object.entries(headers)) {
      if (value === null) delete lines[name]
      else lines[name] = value
    }
    const search = params.size ?? [...params].length
    const head = `GET /ws${search ? `?${params}` : ''} HTTP/1.1\r\n` +
      Object.entries(lines).flatMap(([name, value]) => [value].flat().map(v => `${name}: ${v}\r\n`)).join('') + '\r\n'
    this.tcp = netConnect({ host: this.server.host, port: this.server.port, localAddress })
    this.tcp.setNoDelay(true)
    this.closed = new Promise(done => { this.onClosed = done })
    const answer = new Promise((done, fail) => {
      let opened = false
      this.tcp.write(head)
      this.tcp.on('data', chunk => {
        this.bytesRead += chunk.length
        if (opened) return this.take(chunk)
        this.buffer = Buffer.concat([this.buffer, chunk])
        const end = this.buffer.indexOf('\r\n\r\n')
        if (end < 0) return
        if (!this.buffer.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) return // an answer with a body: until the close
        opened = true
        const res = parseResponses(this.buffer.subarray(0, end + 4), { heads: true })[0]
        const expected = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
        if (res.headers['sec-websocket-accept'] !== expected) fail(new Error('wrong Sec-WebSocket-Accept'))
        if (!/^upgrade$/i.test(res.headers.connection)) fail(new Error('no Connection: Upgrade'))
        if (!/^websocket$/i.test(res.headers.upgrade)) fail(new Error('no Upgrade: websocket'))
        this.deflate = res.headers['sec-websocket-extensions'] ?? null
        if (this.deflate && !deflate) fail(new Error('an extension that was not offered'))
        const rest = this.buffer.subarray(end + 4)
        this.buffer = Buffer.alloc(0)
        done(res)
        if (rest.length) this.take(rest)
      })
      this.tcp.on('error', error => { if (!opened) fail(error); this.error = error })
      this.tcp.on('close', () => {
        if (!opened) {
          try { done(parseResponses(this.buffer)[0] ?? { status: 0, headers: {}, text: '' }) } catch (error) { fail(error) }
        }
        this.isClosed = true
        this.onClosed(this.closeFrame ?? { code: 1006, reason: '' })
        for (const look of [...this.wake]) look()
      })
    })
    // A refusal may keep the connection alive: it is over when its Content-Length is there.
    const early = new Promise(done => this.tcp.on('data', () => {
      const text = this.buffer.toString('latin1')
      const match = /^HTTP\/1\.1 [2-5](?:.|\r\n)*?\r\ncontent-length: (\d+)\r\n(?:.|\r\n)*?\r\n\r\n/i.exec(text)
      if (match && this.buffer.length >= match[0].length + Number(match[1])) {
        done(parseResponses(this.buffer)[0])
        this.tcp.destroy()
      }
    }))
    return within(10_000, 'the answer to the handshake', Promise.race([answer, early]))
  }

  take(chunk) {
    this.buffer = this.buffer.length ? Buffer.concat([this.buffer, chunk]) : chunk
    try {
      while (this.takeFrame());
    } catch (error) {
      this.fault ??= error
      this.tcp.destroy()
    }
    for (const look of [...this.wake]) look()
  }

  takeFrame() {
    const b = this.buffer
    if (b.length < 2) return false
    let size = b[1] & 0x7f, at = 2
    if (size === 126) { if (b.length < 4) return false; size = b.readUInt16BE(2); at = 4 }
    else if (size === 127) { if (b.length < 10) return false; size = Number(b.readBigUInt64BE(2)); at = 10 }
    if (b.length < at + size) return false
    const fin = b[0] & 0x80, rsv = (b[0] >> 4) & 7, opcode = b[0] & 15, payload = b.subarray(at, at + size)
    assert.equal(b[1] & 0x80, 0, 'the server must not mask')
    this.buffer = b.subarray(at + size)
    if (opcode >= 8) {
      assert.ok(fin && size < 126 && !rsv, 'a control frame is whole, short and plain')
      if (opcode === OPCODE.ping) {
        this.pings++
        if (!this.options.deaf) this.sendFrame(payload, { opcode: OPCODE.pong })
      }
      if (opcode === OPCODE.pong) this.pongs.push(payload.toString())
      if (opcode === OPCODE.close) {
        this.closeFrame = { code: size >= 2 ? payload.readUInt16BE(0) : 1005, reason: payload.subarray(2).toString() }
        if (!this.closeSent) this.sendFrame(payload, { opcode: OPCODE.close })
        this.closeSent = true
      }
      return true
    }
    assert.ok(!this.closeFrame, 'no data after a close frame')
    if (opcode !== OPCODE.continuation) {
      assert.ok(!this.fragments, 'a new message inside a fragmented one')
      assert.equal(opcode, OPCODE.text, 'the server only sends text')
      assert.ok(rsv === 0 || (rsv === 4 && this.deflate), 'RSV bits without an extension')
      this.fragments = { parts: [payload], compressed: rsv === 4 }
    } else {
      assert.ok(this.fragments, 'a continuation of nothing')
      assert.equal(rsv, 0)
      this.fragments.parts.push(payload)
    }
    if (!fin) return true
    const { parts, compressed } = this.fragments
    this.fragments = null
    const bytes = Buffer.concat(parts)
    const text = compressed ? inflateMessage(bytes) : new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const frame = JSON.parse(text)
    Object.defineProperty(frame, 'wire', { value: { size: bytes.length, compressed, text } })
    this.judge(frame)
    this.log.push(frame)
    this.frames.push(frame)
    this.options.onFrame?.(frame, this)
    return true
  }

  /** What holds for every connection at every time. */
  judge(frame) {
    if (!this.log.length && !this.options.any) assert.equal(frame.type, 'welcome', 'the first frame is welcome')
    assert.ok(frame.wire.size <= 128 * 1024, 'no frame is over 128 KiB')
    const moves = LOG_FRAMES.has(frame.type) && !frame.repeat
    if (moves) {
      assert.ok(Number.isSafeInteger(frame.rev), `a ${frame.type} frame has a rev`)
      const floor = this.position ?? (this.log[0].resumed ? Number(this.options.since) : -1)
      assert.ok(frame.rev > floor, `rev rises strictly: ${frame.rev} after ${floor}: ${frame.wire.text.slice(0, 300)}`)
    }
    if (frame.type === 'ready') assert.ok(frame.rev >= (this.position ?? 0), 'ready is not behind what was sent')
    if (moves || frame.type === 'ready') this.position = frame.rev
  }

  next(what, ms = 5000) {
    const fits = typeof what === 'function' ? what : typeof what === 'string' ? f => f.type === what : () => true
    return within(ms, `a frame ${what}; waiting are ${JSON.stringify(this.frames).slice(0, 600)}`, new Promise((done, fail) => {
      const look = () => {
        const at = this.frames.findIndex(fits)
        if (at >= 0) { this.wake.delete(look); return done(this.frames.splice(at, 1)[0]) }
        if (!this.fault && !this.isClosed) return
        this.wake.delete(look)
        fail(this.fault ?? new Error(`closed ${JSON.stringify(this.closeFrame ?? 'without a close frame')} before a frame ${what}; had ${JSON.stringify(this.frames).slice(0, 600)}`))
      }
      this.wake.add(look)
      look()
    }))
  }

  /** Like `next`, but looks at all that ever came and takes nothing away. */
  async heard(fits, ms = 5000) {
    const found = () => this.log.find(fits)
    if (!found()) {
      let look
      await within(ms, `a frame ${fits}`, new Promise(done => { look = () => { if (found() || this.isClosed) done() }; this.wake.add(look) })).finally(() => this.wake.delete(look))
    }
    const frame = found()
    assert.ok(frame, `closed before a frame ${fits}`)
    return frame
  }

  until(fits, ms) { return this.next(fits, ms) }

  /** Frames of a type that are waiting now; with `reaches` before, those that ever will. */
  waiting(type) { return this.frames.filter(f => f.type === type) }

  /** Throws away what is waiting. */
  clear() { this.frames.length = 0 }

  /** The frames up to and including `ready`, in order. */
  async untilReady(ms) {
    const ready = await this.next('ready', ms)
    const at = this.log.indexOf(ready)
    const list = this.log.slice(0, at + 1)
    this.frames = this.frames.filter(f => this.log.indexOf(f) > at)
    return list
  }

  /** Sends a request with a ref and gives what answers it. */
  async ask(frame, ms) {
    const ref = `r${++this.refs}`
    this.send({ ...frame, ref })
    return this.next(f => f.ref === ref, ms)
  }

  /** Sends a request that must be refused with this code; gives the error. */
  async askRefused(frame, code) {
    const answer = await this.ask(frame)
    assert.equal(answer.type, 'error', `expected the error ${code}, got ${JSON.stringify(answer)}`)
    assert.equal(answer.code, code, JSON.stringify(answer))
    assert.ok(answer.message?.length > 3, 'an error says what is wrong')
    return answer
  }

  /** Sends a message and gives its acknowledgement. */
  async say(text, more = {}) {
    const nonce = more.nonce ?? randomBytes(8).toString('hex')
    this.send({ type: 'message', text, ...more, nonce })
    const frame = await this.next(f => f.nonce === nonce)
    assert.equal(frame.type, 'message', JSON.stringify(frame))
    return frame
  }

  /** Waits until the connection's position is at least `rev`. */
  async reaches(rev) {
    for (let i = 0; i < 500; i++) {
      const pong = await this.ask({ type: 'ping' })
      assert.equal(pong.type, 'pong')
      if (pong.rev >= rev) return pong
      await new Promise(done => setTimeout(done, 10))
    }
    throw new Error(`the connection never got to rev ${rev}`)
  }

  send(object) { this.sendText(JSON.stringify(object)) }
  sendText(text) { this.sendFrame(text) }
  sendFrame(payload, options) {
    if (options?.opcode === OPCODE.close) this.closeSent = true
    this.sendRaw(encodeFrame(payload, options))
  }
  sendRaw(bytes) { if (!this.tcp.destroyed) this.tcp.write(bytes) }

  pause() { this.tcp.pause() }
  resume() { this.tcp.resume() }

  /** Closes as RFC 6455 says and waits for the server's answer. */
  async close(code = 1000) {
    if (!this.isClosed) {
      const payload = Buffer.alloc(2)
      payload.writeUInt16BE(code)
      this.sendFrame(payload, { opcode: OPCODE.close })
    }
    return within(5000, 'the answer to the close', this.closed)
  }

  /** Cuts the connection with no word, as a lost network does. */
  cut() { this.tcp.resetAndDestroy ? this.tcp.resetAndDestroy() : this.tcp.destroy() }

  /** The close that the server makes: it must have this code. */
  async expectClose(code, ms = 5000) {
    const how = await within(ms, `a close with ${code}`, this.closed)
    if (this.fault) throw this.fault
    assert.equal(how.code, code, `closed with ${JSON.stringify(how)}`)
    return how
  }
}

/** Opens a WebSocket; throws when the handshake is refused (`error.status`, `error.response`). */
export async function ws(server, options = {}) {
  const socket = new Socket(server, options)
  const res = await socket.handshake()
  if (res.status !== 101) {
    throw Object.assign(new Error(`the handshake gave ${res.status} ${res.text}`), { status: res.status, response: res })
  }
  return socket
}

/** Opens a WebSocket, waits for `ready` and forgets the frames before it (they stay in `log`; `welcome` is kept). */
export async function online(server, person, options = {}) {
  const socket = await ws(server, { token: person.token, ...options })
  const first = await socket.untilReady()
  socket.welcome = first[0]
  return socket
}

/** The handshake must be refused with this status (and error code). */
export async function wsRefused(server, options, status, code) {
  const socket = new Socket(server, options)
  const res = await socket.handshake()
  socket.tcp.destroy()
  assert.equal(res.status, status, `the handshake gave ${res.status} ${res.text}`)
  if (code) assert.equal(JSON.parse(res.text).error, code)
  return res
}
