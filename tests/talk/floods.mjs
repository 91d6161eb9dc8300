// Promise: while strangers flood the server, in twelve ways, good clients are served, each limit answers as PROTOCOL §4 says, and memory stays under the
// bound that was printed at the start. (`make flood` does the same for longer and measures.)

import assert from 'node:assert/strict'
import { accomplices, attacks } from '../flood/attacks.mjs'
import { goodClients } from '../flood/good.mjs'
import { bound, peak } from '../flood/memory.mjs'
import { startServer } from '../support/server.mjs'
import { measured, test } from '../support/suite.mjs'

const server = await startServer({ args: ['--max-sockets', '500', '--login-rate', '10', '--message-rate', '20/50', '--deflate', 'on', '--max-sockets-per-user', '500'] })
const people = await accomplices(server, 4), good = await goodClients(server)
let quietest = peak(server)

for (const [name, { act, must = [] }] of Object.entries(attacks)) {
  test(`${name}: good clients are served, and it is answered as it should be`, async () => {
    // On until every answer has come and a good client has been heard ten times: how long that takes is not judged.
    let heard = 0, ended = false
    const seen = {}
    const goes = good.talk(() => (heard++ >= 10 && ended), 60)
    let rounds = 0
    do {
      const end = Date.now() + 500
      const count = await act(server, { over: () => Date.now() > end, scale: 40, people, ready: () => {} })
      for (const [what, n] of Object.entries(count)) seen[what] = (seen[what] ?? 0) + n
    } while (must.some(what => !seen[what]) && rounds++ < 20)
    ended = true
    const times = await goes
    assert.ok(times.length >= 10)
    for (const what of must) assert.ok(seen[what], `${what} is missing among ${JSON.stringify(seen)}`)
    if (measured) assert.ok(peak(server) <= bound(server), `${peak(server)} of ${bound(server)} bytes`)
    quietest = Math.max(quietest, peak(server))
  }, { timeout: 60_000 })
}

test('the bound is a line of the log, and no wish', () => {
  console.log(`# peak ${(quietest / 1e6).toFixed(1)} MB of ${(bound(server) / 1e6).toFixed(0)} MB`)
  assert.ok(bound(server) > 16e6)
  good.cut()
})
