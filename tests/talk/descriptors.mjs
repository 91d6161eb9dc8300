// Promise: whoever takes all descriptors that a server may have, takes nothing else: the command line is heard at once where the limit leaves room for it, and else
// when there is a descriptor again; who comes afterwards is served, and the server stops cleanly.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { http, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { eventually, sleep, test } from '../support/suite.mjs'

/** Strangers who begin a request and do not end it: they are not idle, so nobody who comes makes them go. */
async function strangers(server, n) {
  const half = 'POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'
  const crowd = []
  for (let i = 0; i < n; i++) {
    const s = connect({ port: server.port, host: server.host, allowHalfOpen: true }, () => s.write(half))
    s.on('error', () => { /* turned away */ }).resume()
    crowd.push(s)
    await sleep(2)
  }
  await sleep(200)
  return crowd
}

// Without a sandbox libuv can open its descriptor in reserve again, with which it would drop the command.
for (const [limit, atOnce, ...args] of [[128, true], [40, false], [40, false, '--sandbox', 'off']]) {
  test(`${[limit, ...args].join(' ')} descriptors, more strangers: the command line ${atOnce ? 'is heard' : 'waits'}, and all goes on`, async () => {
    const server = await startServer({ args, wrap: ['prlimit', `--nofile=${limit}:${limit}`] })
    await register(server, 'alice')
    const crowd = await strangers(server, limit + 20)
    // A listener of the net that rests has given its descriptor back: a few silent calls take what there is.
    for (let i = 0; !atOnce && i < 5; i++) crowd.push(connect(join(server.data, 'control')).on('error', () => {}))
    let told = null
    const asked = server.cli(['user', 'list']).then(result => { told = result }, error => { told = { code: 1, stderr: error.message } })
    if (atOnce) await eventually('the command is answered', () => told)
    else await sleep(300)
    crowd.forEach(s => s.destroy())
    await asked
    assert.equal(told.code, 0, told.stderr)
    assert.match(told.stdout, /alice/)
    await eventually('who comes is served', async () => (await http(server, 'GET', '/healthz', { timeout: 2000 }).catch(() => ({}))).status === 200)
    assert.equal(await server.stop(), 0)
  }, { timeout: 20_000 })
}
