// Good clients beside an attack: they talk at a steady pace, and every message must come to each of them, in time or not.

import { call, online, register } from '../support/client.mjs'
import { sleep } from '../support/suite.mjs'

/** `n` people who are online, talking in the lobby or in a `room` of their own; `talk(over)` gives the milliseconds of each message from its sending to the last of them. */
export async function goodClients(server, { n = 3, room = false } = {}) {
  const people = [], sockets = []
  for (let i = 0; i < n; i++) people.push(await register(server, `good${i}`))
  const own = room ? await call(server, 'POST', '/api/rooms', { token: people[0].token, json: { name: 'apart', private: true, members: people.slice(1).map(p => p.username) } }, 201) : null
  const where = own ? { room: own.room.id } : {}
  for (const person of people) sockets.push(await online(server, person))
  let number = 0
  return {
    sockets,
    async talk(over, pace = 40) {
      const times = []
      while (!over()) {
        const nonce = `g${number++}`, begin = performance.now()
        const by = sockets[number % n]
        by.send({ type: 'message', text: `hello ${nonce}`, nonce, ...where })
        const mine = await by.until(f => f.nonce === nonce, 20_000)
        if (mine.type !== 'message') throw new Error(`a good client got ${JSON.stringify(mine)}`)
        await Promise.all(sockets.filter(s => s !== by).map(s => s.until(f => f.id === mine.id, 20_000)))
        times.push(performance.now() - begin)
        for (const s of sockets) s.frames.length = 0
        await sleep(pace)
      }
      return times
    },
    cut: () => sockets.forEach(s => s.cut()),
  }
}

export const p99 = times => [...times].sort((a, b) => a - b)[Math.max(0, Math.ceil(times.length * 0.99) - 1)]
