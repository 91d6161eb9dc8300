// A user is blocked in the same turn of the loop in which one of their connections breaks: the server must neither hang nor
// leave one open. The connections ask for pongs and reset at once, so that writing to them fails, while the block is being
// committed. After a start the server takes the disk for a slow one and commits beside the loop, so each round is a new start.

import { SLOW, test } from '../support/suite.mjs'
import { startServer } from '../support/server.mjs'
import { call, register, ws, encodeFrame, OPCODE } from '../support/client.mjs'

const server = await startServer({ args: ['--warnings', '1'] })
const pings = Buffer.concat(Array.from({ length: 40 }, () => encodeFrame('x', { opcode: OPCODE.ping })))

const ROUNDS = SLOW > 4 ? 3 : 12 // a start takes a quarter of a minute under valgrind

test('a block finds connections that have broken in the same turn', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const person = await register(server, `mallory${round}`)
    await server.restart()
    const sockets = await Promise.all(Array.from({ length: 60 }, () => ws(server, { token: person.token })))
    await Promise.all(sockets.map(socket => socket.untilReady()))
    const last = sockets.pop()
    last.send({ type: 'message', text: 'you idiot, shit' })
    for (const socket of sockets) {
      socket.sendRaw(pings)
      socket.cut()
    }
    await last.expectClose(4002)
    await call(server, 'GET', '/healthz', {}, 200)
  }
}, { timeout: 30_000 })
