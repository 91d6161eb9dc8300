// What does not wait for the disk, while 1,000 messages a second do: for `make slow-storage`. One request of each kind at a time, on a kept connection.
//   slow-others.mjs URL SECONDS     Prints `page P50 P99`, `history P50 P99` and `ping P50 P99` in ms, a line each.
import { Agent, request } from 'node:http'
import { online, register } from '../../tests/support/client.mjs'

const url = new URL(process.argv[2]), seconds = Number(process.argv[3])
const server = { host: url.hostname, port: Number(url.port), url: url.origin }
const me = await register(server, `beside${process.pid}`)
const agent = new Agent({ keepAlive: true, maxSockets: 2 })
const get = path => new Promise((done, fail) => {
  request({ host: server.host, port: server.port, path, agent, headers: { Authorization: `Bearer ${me.token}` } }, res => {
    res.resume()
    res.on('end', () => (res.statusCode === 200 ? done() : fail(new Error(`${path}: ${res.statusCode}`))))
  }).on('error', fail).end()
})
const socket = await online(server, me, { onFrame: f => { if (f.type === 'pong') answered() } })
let answered
const ping = () => new Promise(done => {
  answered = done
  socket.send({ type: 'ping' })
})
const end = performance.now() + seconds * 1000
const kinds = { page: () => get('/'), history: () => get('/api/rooms/1/messages?limit=50'), ping }
await Promise.all(Object.entries(kinds).map(async ([kind, ask]) => {
  const times = []
  while (performance.now() < end) {
    const begin = performance.now()
    await ask()
    times.push(performance.now() - begin)
    await new Promise(done => setTimeout(done, 2))
    socket.log.length = 1 // `welcome` stays
    socket.frames.length = 0
  }
  times.sort((a, b) => a - b)
  const at = share => times[Math.floor(times.length * share)].toFixed(2)
  console.log(`${kind} ${at(0.5)} ${at(0.99)}`)
}))
process.exit(0)
