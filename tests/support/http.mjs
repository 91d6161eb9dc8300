// HTTP by hand: `http` for ordinary calls with `call`, `refused`, `register`, `login` on top of it, and `tcp`, `raw` and
// `parseResponses` for bytes as no library would send them. Every call has a connection of its own.

import { request as httpRequest } from 'node:http'
import { connect as netConnect } from 'node:net'
import assert from 'node:assert/strict'
import { within } from './suite.mjs'

/**
 * One HTTP call on a connection of its own: `{status, headers, body, text, json}`.
 *   json     a body to send as application/json
 *   body     a body to send as it is
 *   timeout  in ms, for what may have to wait behind many
 *   token    for the header Authorization; `cookie` for the cookie (the token alone)
 */
export function http(server, method, path, { json, body, token, cookie, headers = {}, localAddress, socketPath, timeout = 10_000 } = {}) {
  const send = { ...headers }
  if (json !== undefined) {
    body = JSON.stringify(json)
    send['Content-Type'] ??= 'application/json'
  }
  if (body !== undefined) send['Content-Length'] ??= Buffer.byteLength(body)
  if (token) send.Authorization = `Bearer ${token}`
  if (cookie) send.Cookie = `chatterbox=${cookie}`
  const answer = new Promise((done, fail) => {
    const where = socketPath ? { socketPath } : { host: server.host, port: server.port, localAddress }
    const req = httpRequest({ ...where, method, path, headers: send, agent: false, setHost: !('Host' in send) }, res => {
      const chunks = []
      res.on('data', chunk => chunks.push(chunk))
      res.on('error', fail)
      res.on('end', () => {
        const bytes = Buffer.concat(chunks)
        const text = bytes.toString()
        done({
          status: res.statusCode, headers: res.headers, rawHeaders: res.rawHeaders, body: bytes, text,
          get json() { return JSON.parse(text) },
        })
      })
    })
    req.on('error', fail)
    req.end(body)
  })
  return within(timeout, `${method} ${path}`, answer)
}

/** Like `http`, and throws unless the status is the one expected; gives the parsed body. */
export async function call(server, method, path, options = {}, expected = undefined) {
  const res = await http(server, method, path, options)
  const good = expected === undefined ? res.status >= 200 && res.status < 300 : res.status === expected
  assert.ok(good, `${method} ${path} gave ${res.status} ${res.text.slice(0, 300)}, expected ${expected ?? '2xx'}`)
  return res.text && /json/.test(res.headers['content-type'] ?? '') ? res.json : res.text
}

/** The call must fail with this status and error code; every error has one plain sentence. */
export async function refused(server, method, path, options, status, code) {
  const res = await http(server, method, path, options)
  assert.equal(res.status, status, `${method} ${path} gave ${res.status} ${res.text.slice(0, 300)}, expected ${status}`)
  if (method !== 'HEAD') {
    if (code) assert.equal(res.json.error, code)
    assert.match(res.json.error, /^[a-z_]+$/)
    assert.ok(res.json.message.length > 3, 'an error says what is wrong')
  }
  return res
}

export const PASSWORD = 'correct horse battery'

/** Registers and gives a person: `{username, password, token, expires, user}`. */
export async function register(server, username, { password = PASSWORD, ...more } = {}) {
  const answer = await call(server, 'POST', '/api/register', { json: { username, password, ...more } }, 201)
  return { username: answer.user.username, password, ...answer }
}

/** Logs in and gives a person with a new session. */
export async function login(server, username, password = PASSWORD) {
  const answer = await call(server, 'POST', '/api/login', { json: { username, password } }, 200)
  return { username: answer.user.username, password, ...answer }
}

/** Registers with the link that the server printed at its start: an administrator. */
export const registerAdmin = (server, username = 'root') => register(server, username, { invite: server.adminInvite() })

/** The token in an answer's Set-Cookie, or undefined. */
export function cookieOf(res) {
  for (const line of res.headers['set-cookie'] ?? []) {
    const match = /^chatterbox=([^;]*)/.exec(line)
    if (match) return match[1]
  }
}

/** The value of one of the server's metrics. */
export async function metric(server, name) {
  const { text } = await http(server, 'GET', '/metrics')
  const match = new RegExp(`^chatterbox_${name} (\\d+)$`, 'm').exec(text)
  assert.ok(match, `the metrics have no ${name}`)
  return Number(match[1])
}

/** All messages of a room over HTTP, page by page from the beginning. */
export async function wholeRoom(server, token, room = 1, limit = 200) {
  const list = []
  for (let after = 0; ;) {
    const page = await call(server, 'GET', `/api/rooms/${room}/messages?after=${after}&limit=${limit}`, { token }, 200)
    list.push(...page.messages)
    if (!page.more) return list
    after = page.messages.at(-1).id
  }
}

/** A plain TCP connection: `write`, `text()`, `closed` (a promise), `wait(regex)`, `destroy`. */
export function tcp(server, { localAddress } = {}) {
  const socket = netConnect({ host: server.host, port: server.port, localAddress })
  const chunks = []
  const waiting = new Set()
  const conn = {
    socket, ended: false, reset: false,
    bytes: () => Buffer.concat(chunks),
    text: () => Buffer.concat(chunks).toString('latin1'),
    write: data => socket.write(data),
    end: data => socket.end(data),
    destroy: () => socket.destroy(),
    /** Resolves when what came matches. */
    wait(pattern, ms = 5000) {
      return within(ms, `bytes matching ${pattern}; got ${JSON.stringify(conn.text().slice(0, 300))}`, new Promise((done, fail) => {
        const look = () => {
          if (pattern.test(conn.text())) { waiting.delete(look); done(conn.text()) }
          else if (conn.ended) { waiting.delete(look); fail(new Error(`closed before ${pattern}; got ${JSON.stringify(conn.text().slice(0, 300))}`)) }
        }
        waiting.add(look)
        look()
      }))
    },
  }
  conn.closed = new Promise(done => {
    socket.on('data', chunk => { chunks.push(chunk); for (const look of [...waiting]) look() })
    socket.on('end', () => { conn.ended = true })
    socket.on('error', error => { conn.reset = error.code === 'ECONNRESET' || error.code === 'EPIPE'; conn.error = error })
    socket.on('close', () => { conn.ended = true; for (const look of [...waiting]) look(); done(conn) })
  })
  return conn
}

/** Splits what came on a connection into responses `{status, reason, headers, body}`. `heads`: for HEAD requests. */
export function parseResponses(bytes, { heads = false } = {}) {
  const list = []
  let rest = bytes
  while (rest.length) {
    const end = rest.indexOf('\r\n\r\n')
    assert.ok(end > 0, `not an HTTP response: ${JSON.stringify(rest.toString('latin1').slice(0, 200))}`)
    const [first, ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n')
    const match = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(first)
    assert.ok(match, `not a status line: ${JSON.stringify(first)}`)
    const headers = {}
    for (const line of lines) {
      const colon = line.indexOf(':')
      assert.ok(colon > 0, `not a header: ${JSON.stringify(line)}`)
      const name = line.slice(0, colon).toLowerCase(), value = line.slice(colon + 1).trim()
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value
    }
    rest = rest.subarray(end + 4)
    const status = Number(match[1])
    let body = Buffer.alloc(0)
    if (!heads && status >= 200 && status !== 204 && status !== 304) {
      if (/chunked/i.test(headers['transfer-encoding'] ?? '')) {
        const parts = []
        for (;;) {
          const line = rest.indexOf('\r\n')
          const size = parseInt(rest.subarray(0, line).toString('latin1'), 16)
          parts.push(rest.subarray(line + 2, line + 2 + size))
          rest = rest.subarray(line + 2 + size + 2)
          if (!size) break
        }
        body = Buffer.concat(parts)
      } else {
        const length = headers['content-length'] === undefined ? rest.length : Number(headers['content-length'])
        body = rest.subarray(0, length)
        rest = rest.subarray(length)
      }
    }
    list.push({ status, reason: match[2], headers, body, text: body.toString() })
  }
  return list
}

/** Sends bytes and reads until the server closes: the list of responses. */
export async function raw(server, data, { timeout = 5000 } = {}) {
  const conn = tcp(server)
  conn.write(data)
  try {
    await within(timeout, `the server's close after ${JSON.stringify(String(data).slice(0, 120))}; got ${JSON.stringify(conn.text().slice(0, 200))}`, conn.closed)
  } finally {
    conn.destroy()
  }
  return parseResponses(conn.bytes())
}
