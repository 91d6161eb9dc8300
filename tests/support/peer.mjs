// What the WebSocket conformance tests speak with: the echo server (build/tests/ws_echo) and a peer that writes down all it
// hears as one line, a "story": `text "hello"`, `binary 3f00`, `pong ab`, `close 1000`, then `end` when the server has shut
// its side. A test is a script of frames and the story that must come of it, whichever way the bytes travel.

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { constants, inflateRawSync } from 'node:zlib'
import assert from 'node:assert/strict'
import { atEnd, onFailure, random, within } from './suite.mjs'
import { binary } from './server.mjs'
import { encodeFrame } from './socket.mjs'

export const full = process.env.CONFORM === 'full'
export const u16 = n => Buffer.from([n >> 8, n & 255])

/** One frame of a script: a constructor for each kind; `more` is what encodeFrame takes. */
const kind = (opcode, fin) => (payload = '', more = {}) => encodeFrame(payload, { opcode, fin, ...more })
export const F = {
  text: kind(1, true), binary: kind(2, true), last: kind(0, true), ping: kind(9, true), pong: kind(10, true),
  beginText: kind(1, false), beginBinary: kind(2, false), middle: kind(0, false),
  close: (code, reason = '', more = {}) => encodeFrame(code === undefined ? '' : Buffer.concat([u16(code), Buffer.from(reason)]), { opcode: 8, ...more }),
}

/** Starts the echo server: `{host, port, pid, rss()}`. It must end with 0, which says that every handle was closed. */
export async function startEcho(args = []) {
  const program = join(dirname(binary), 'tests/ws_echo')
  if (!existsSync(program)) throw new Error(`there is no ${program}: run make ws-echo`)
  const child = spawn(program, ['--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  process.on('exit', () => child.kill('SIGKILL'))
  const lines = []
  child.stderr.on('data', chunk => lines.push(...String(chunk).split('\n')))
  const ended = new Promise(done => child.on('close', (code, signal) => done(signal ?? code)))
  const port = await within(10_000, 'the echo server', new Promise((done, fail) => {
    child.stdout.on('data', chunk => {
      const match = /^listening on http:\/\/127\.0\.0\.1:(\d+)$/m.exec(String(chunk))
      if (match) done(Number(match[1]))
    })
    ended.then(how => fail(new Error(`it ended with ${how}: ${lines.join('\n')}`)))
  }))
  onFailure('the echo server', () => lines)
  atEnd('the echo server ends cleanly', async () => {
    child.kill('SIGTERM')
    assert.equal(await within(6000, 'its end', ended), 0)
    assert.ok(!lines.some(line => /runtime error:|ERROR: \w+Sanitizer|assertion/i.test(line)), lines.join('\n'))
  })
  const rss = () => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1])
  return { host: '127.0.0.1', port, pid: child.pid, rss }
}

const show = payload => payload.length > 200
  ? `${payload.length}:${createHash('sha1').update(payload).digest('hex').slice(0, 12)}`
  : payload.toString('latin1').replace(/[^ -~]/g, c => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)

/** How a message of that kind and content is told. */
export const told = (what, payload) => `${what} ${show(Buffer.from(payload))}`

/**
 * A connection to a WebSocket server. `story` is what was heard; `messages` counts; `onMessage(kind, payload)` sees each.
 * It checks what a server may never do: masks, RSV bits that were not agreed, broken UTF-8, frames behind a close.
 */
export class Peer {
  constructor(server, { path = '/', offer = null, headers = '', keep = true, deaf = false, onMessage } = {}) {
    Object.assign(this, { server, path, offer, headers, keep, deaf, onMessage })
    this.story = []
    this.buffer = []
    this.buffered = 0
    this.need = 2
    this.parts = null
    this.closed = false
    this.messages = 0
    this.packed = 0
    this.wake = new Set()
  }

  async open() {
    this.tcp = connect({ host: this.server.host, port: this.server.port })
    this.tcp.setNoDelay(true)
    this.ended = new Promise(done => {
      this.tcp.on('end', () => { this.say('end'); this.tcp.end() })
      this.tcp.on('error', error => { this.error = error })
      this.tcp.on('close', () => { this.gone = true; this.look(); done() })
    })
    const key = randomBytes(16).toString('base64')
    this.tcp.write(`GET ${this.path} HTTP/1.1\r\nHost: ${this.server.host}:${this.server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n${this.offer === null ? '' : `Sec-WebSocket-Extensions: ${this.offer}\r\n`}${this.headers}\r\n`)
    let head = Buffer.alloc(0)
    await within(10_000, 'the handshake', new Promise((done, fail) => {
      const onData = chunk => {
        head = Buffer.concat([head, chunk])
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return
        this.tcp.off('data', onData)
        if (this.deaf) this.tcp.pause()
        this.tcp.on('data', more => this.take(more))
        const text = head.subarray(0, end).toString('latin1')
        try {
          assert.match(text, /^HTTP\/1\.1 101 /)
          const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
          assert.ok(text.includes(`Sec-WebSocket-Accept: ${accept}`))
          this.deflate = /\r\nSec-WebSocket-Extensions: ([^\r]*)/i.exec(text)?.[1] ?? null
          assert.ok(this.deflate === null || this.offer !== null, 'an extension that was not offered')
        } catch (error) { return fail(error) }
        if (head.length > end + 4) this.take(head.subarray(end + 4))
        done()
      }
      this.tcp.on('data', onData)
      this.tcp.on('close', () => fail(new Error(`closed in the handshake: ${head.toString('latin1').slice(0, 200)}`)))
    }))
    return this
  }

  say(what) { this.story.push(what); this.look() }
  look() { for (const fn of [...this.wake]) fn() }

  take(chunk) {
    this.buffer.push(chunk)
    this.buffered += chunk.length
    while (this.buffered >= this.need) {
      if (this.buffer.length > 1) this.buffer = [Buffer.concat(this.buffer)]
      const b = this.buffer[0]
      let size = b[1] & 0x7f, at = 2
      if (size >= 126) {
        at = size === 126 ? 4 : 10
        if (b.length < at) { this.need = at; return }
        size = size === 126 ? b.readUInt16BE(2) : Number(b.readBigUInt64BE(2))
      }
      if (b.length < at + size) { this.need = at + size; return }
      this.need = 2
      this.buffer = [b.subarray(at + size)]
      this.buffered -= at + size
      try { this.frame(b[0], b[1], b.subarray(at, at + size)) } catch (error) { this.fault ??= error; this.tcp.destroy() }
    }
  }

  frame(first, second, payload) {
    const opcode = first & 15, fin = !!(first & 0x80), rsv1 = !!(first & 0x40)
    assert.ok(!(second & 0x80), 'a server does not mask')
    assert.ok(!(first & 0x30), 'RSV2 and RSV3 are nobody\'s')
    assert.ok(!this.closed, 'nothing comes behind a close frame')
    assert.ok(!rsv1 || (this.deflate && (opcode === 1 || opcode === 2)), 'RSV1 is for the first frame of a compressed message')
    if (opcode >= 8) {
      assert.ok(fin && payload.length <= 125, 'a control frame is short and whole')
      if (opcode === 9) return this.say(told('ping', payload))
      if (opcode === 10) return this.say(told('pong', payload))
      assert.equal(opcode, 8)
      assert.notEqual(payload.length, 1)
      this.closed = true
      new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(2))
      return this.say(payload.length ? `close ${payload.readUInt16BE(0)}` : 'close')
    }
    if (opcode) { assert.equal(this.parts, null); this.parts = []; this.opcode = opcode; this.rsv1 = rsv1 }
    assert.ok(this.parts, 'a continuation of something')
    this.parts.push(payload)
    if (!fin) return
    let message = this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts)
    this.parts = null
    if (this.rsv1) {
      this.packed++
      // Without context takeover each message inflates by itself, in the window that was agreed.
      const bits = Number(/server_max_window_bits=(\d+)/.exec(this.deflate)?.[1] ?? 15)
      message = inflateRawSync(Buffer.concat([message, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: constants.Z_SYNC_FLUSH, windowBits: bits })
    }
    if (this.opcode === 1) new TextDecoder('utf-8', { fatal: true }).decode(message)
    this.messages++
    const what = this.opcode === 1 ? 'text' : 'binary'
    this.onMessage?.(what, message)
    if (this.keep) this.say(told(what, message))
    else this.look()
  }

  /** Writes so that no more than `ahead` bytes wait on this side. */
  write(bytes) {
    if (this.gone || this.tcp.destroyed || this.tcp.write(bytes)) return null
    return Promise.race([new Promise(done => this.tcp.once('drain', done)), this.ended])
  }

  /** Waits until `fits()`; fails when the connection is over before. */
  until(what, fits, ms = 20_000) {
    let look
    return within(ms, `${what}; the story so far is ${this.story.join(', ').slice(0, 300)}`, new Promise((done, fail) => {
      look = () => {
        if (this.fault) fail(this.fault)
        else if (fits()) done()
        else if (this.gone) fail(new Error(`over before ${what}: ${this.story.join(', ').slice(0, 300)} ${this.error ?? ''}`))
      }
      this.wake.add(look)
      look()
    })).finally(() => this.wake.delete(look))
  }

  /** Waits for the end; the whole story as one line. */
  async all(ms = 20_000) {
    await within(ms, `the end; the story so far is ${this.story.join(', ').slice(0, 300)}`, this.ended)
    if (this.fault) throw this.fault
    return this.story.join(', ')
  }
}

const turn = () => new Promise(done => setImmediate(done))

/** Ways for bytes to travel; each gets the peer and all bytes of the script. */
export const WAYS = {
  whole: (p, bytes) => p.write(bytes),
  'byte by byte': async (p, bytes) => {
    for (let i = 0; i < bytes.length && !p.gone; i++) { p.write(bytes.subarray(i, i + 1)); await turn() }
  },
  'in random pieces': async (p, bytes) => {
    for (let i = 0; i < bytes.length && !p.gone;) {
      const n = 1 + random.below(9)
      p.write(bytes.subarray(i, i + n))
      i += n
      await turn()
    }
  },
  'half closed behind it': (p, bytes) => { p.tcp.allowHalfOpen = true; p.tcp.end(bytes) },
}
/** In two pieces. */
export const cutAt = at => async (p, bytes) => { p.write(bytes.subarray(0, at)); await turn(); await turn(); p.write(bytes.subarray(at)) }

/** Runs one script one way and gives the story. */
export async function tell(server, script, way, options) {
  const peer = await new Peer(server, options).open()
  try {
    await way(peer, Buffer.concat(script))
    return await peer.all()
  } finally { peer.tcp.destroy() }
}
