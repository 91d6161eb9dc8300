// Started with its standard streams closed, as some supervisors do: nothing that the server opens may take their numbers, or
// the log would be written into a pipe of the loop or to a client.

import { test, eventually, sleep } from '../support/suite.mjs'
import { binary, freePort, temporary } from '../support/server.mjs'
import { http } from '../support/client.mjs'
import { spawn } from 'node:child_process'
import { existsSync, readlinkSync } from 'node:fs'
import assert from 'node:assert/strict'

test('it serves, reloads and stops with no standard streams', async () => {
  const port = await freePort(), data = `${temporary()}/data`
  const shell = 'exec "$0" serve --data "$1" --listen "127.0.0.1:$2" --log-level debug <&- >&- 2>&-'
  const child = spawn('sh', ['-c', shell, binary, data, String(port)], { stdio: 'ignore' })
  const ended = new Promise(done => child.on('close', (code, signal) => done(signal ?? code)))
  try {
    const server = { host: '127.0.0.1', port, url: `http://127.0.0.1:${port}` }
    await eventually('it serves', () => http(server, 'GET', '/healthz').then(res => res.status === 200, () => false))
    if (existsSync(`/proc/${child.pid}/fd/0`)) {
      const streams = [0, 1, 2].map(fd => readlinkSync(`/proc/${child.pid}/fd/${fd}`))
      for (const stream of streams) assert.match(stream, /^(socket:|\/dev\/null)/)
    }
    for (let i = 0; i < 5; i++) {
      child.kill('SIGHUP') // two lines of log each
      await sleep(20)
    }
    assert.equal((await http(server, 'GET', '/login')).status, 200)
    child.kill('SIGTERM')
    assert.equal(await ended, 0)
  } finally {
    child.kill('SIGKILL')
  }
})
