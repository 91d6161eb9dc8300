// The model of a client, as PROTOCOL §1 says that one must be: it survives cuts, resumes by position, takes in only what
// has a higher rev than what it holds, and keeps its outbox by nonce. It shows in code how a client is to be written.

import { randomBytes } from 'node:crypto'
import assert from 'node:assert/strict'
import { Socket } from './socket.mjs'
import { within } from './suite.mjs'

/**
 * A client as PROTOCOL §1 tells one to be. It keeps what it holds over cuts, resumes from its position, and sends what
 * was not acknowledged again under the same nonce. `connect` once; `cut` whenever the test likes; it comes back by itself.
 */
export class Follower {
  constructor(server, person, { retry = 20 } = {}) {
    this.server = server
    this.person = person
    this.retry = retry
    this.epoch = null
    this.position = null
    this.rooms = new Map()
    this.users = new Map()
    this.outbox = new Map()
    this.acks = []
    this.connects = 0
    this.resumes = 0
    this.readies = 0
    this.stopped = false
    this.fault = null
    this.wake = new Set()
  }

  start() { this.running = this.run(); return this }

  async run() {
    while (!this.stopped) {
      try {
        const resume = this.position !== null && this.epoch ? { since: this.position, epoch: this.epoch } : {}
        const socket = new Socket(this.server, { token: this.person.token, ...resume, onFrame: f => this.onFrame(f) })
        this.socket = socket
        const res = await socket.handshake()
        if (res.status !== 101) throw new Error(`handshake ${res.status}`)
        this.connects++
        await socket.closed
        if (socket.fault) { this.fault ??= socket.fault; this.stopped = true }
      } catch (error) {
        if (!/ECONN|EPIPE|handshake (0|503)|timed out/.test(String(error))) { this.fault ??= error; this.stopped = true }
      }
      this.live = false
      this.look()
      if (!this.stopped) await new Promise(done => setTimeout(done, this.retry))
    }
  }

  onFrame(frame) {
    if (frame.type === 'welcome') this.onWelcome(frame)
    else if (frame.type === 'history') this.onHistory(frame)
    else if (frame.type === 'message') this.onMessage(frame)
    else if (frame.type === 'room') this.onRoom(frame)
    else if (frame.type === 'user') this.onUser(frame)
    else if (frame.type === 'ready') {
      this.position = frame.rev
      this.readies++
      this.live = true
      for (const m of this.outbox.values()) this.socket.send(m)
    }
    this.look()
  }

  onWelcome(frame) {
    if (frame.resumed) {
      this.resumes++
      assert.equal(frame.epoch, this.epoch, 'a resume is in the same epoch')
    } else {
      this.rooms.clear()
      this.users.clear()
      this.position = null
    }
    this.epoch = frame.epoch
    const there = new Set(frame.rooms.map(r => r.id))
    for (const id of this.rooms.keys()) if (!there.has(id)) this.rooms.delete(id)
    for (const room of frame.rooms) {
      const held = this.rooms.get(room.id)
      if (held) held.room = room.rev >= held.room.rev ? room : held.room
      else {
        this.begin(room)
        if (frame.resumed) this.socket.send({ type: 'history', room: room.id })
      }
    }
    // Answers to what an earlier connection asked do not come any more.
    if (frame.resumed) for (const [id, held] of this.rooms) if (held.floor === Infinity) this.socket.send({ type: 'history', room: id })
  }

  /** Begins a room empty. From the message `floor` on it will be held whole; older ones are asked for when needed. */
  begin(room) { this.rooms.set(room.id, { room, messages: new Map(), floor: Infinity }) }

  onHistory(frame) {
    const held = this.rooms.get(frame.room)
    if (!held) return
    for (const m of frame.messages) this.hold(m)
    held.floor = Math.min(held.floor, frame.more ? frame.messages[0].id : 0)
  }

  onMessage(frame) {
    if (!frame.repeat) this.position = frame.rev
    this.hold(frame)
    if (frame.sender === this.person.username && frame.nonce !== undefined && this.outbox.delete(frame.nonce)) {
      this.acks.push({ nonce: frame.nonce, id: frame.id })
    }
  }

  hold(message) {
    const held = this.rooms.get(message.room)
    if (!held) return
    const old = held.messages.get(message.id)
    if (!old || message.rev > old.rev) held.messages.set(message.id, message)
  }

  onRoom(frame) {
    this.position = frame.rev
    const { id } = frame.room
    const held = this.rooms.get(id)
    if (frame.left) this.rooms.delete(id)
    else if (frame.room.joined) { // anew, even one that is held: it may have been left for a while without a word
      this.begin(frame.room)
      this.socket.send({ type: 'history', room: id })
    } else if (held && frame.rev > held.room.rev) held.room = { ...held.room, ...frame.room }
  }

  onUser(frame) {
    this.position = frame.rev
    const old = this.users.get(frame.user.username)
    if (!old || frame.rev > old.rev) this.users.set(frame.user.username, frame.user)
  }

  /** Puts a message in the outbox and sends it if there is a live connection. */
  post(text, more = {}) {
    const nonce = more.nonce ?? randomBytes(9).toString('base64')
    const message = { type: 'message', text, ...more, nonce }
    this.outbox.set(nonce, message)
    if (this.live) this.socket.send(message)
    return nonce
  }

  cut() { this.socket?.tcp && this.socket.cut() }

  async stop() {
    this.stopped = true
    this.socket?.tcp?.destroy()
    await this.running
    if (this.fault) throw this.fault
  }

  look() { for (const fn of [...this.wake]) fn() }

  /** Waits until `fits(this)`. */
  until(what, fits, ms = 20_000) {
    return within(ms, what, new Promise((done, fail) => {
      const look = () => {
        if (this.fault) { this.wake.delete(look); return fail(this.fault) }
        if (fits(this)) { this.wake.delete(look); done() }
      }
      this.wake.add(look)
      look()
    }))
  }

  /** What it holds of a room, in order of id. */
  messages(room = 1) { return [...(this.rooms.get(room)?.messages.values() ?? [])].sort((a, b) => a.id - b.id) }
}
