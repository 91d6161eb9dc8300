// What a board asks of a release file, measured: `idle FILE` (memory in use at rest, at most 2.5 MB) and `slow-card FILE`
// (every fsync takes 50 ms, as on a slow SD card: at 50 messages a second 99 of 100 are acknowledged within 150 ms).
// Part of tools/test-release; prints what it measured, and its exit status is the verdict.

const [what, file] = process.argv.slice(2)
process.env.CHATTERBOX = file
const { startServer } = await import('../tests/support/server.mjs')
const { online, register } = await import('../tests/support/client.mjs')
const sleep = ms => new Promise(done => setTimeout(done, ms))

async function idle() {
  const server = await startServer()
  await sleep(1000)
  const used = server.rss()
  await server.stop()
  console.log(`  ${(used / 1024).toFixed(0)} KiB`)
  return used <= 2.5 * 1024 * 1024
}

async function slowCard() {
  // Only these calls are traced (seccomp lets the others run free), and each is held up on its way out.
  const wrap = ['strace', '-D', '-f', '--seccomp-bpf', '-o', '/dev/null', '-e', 'trace=fsync,fdatasync',
    '-e', 'inject=fsync,fdatasync:delay_exit=50000', '--']
  const server = await startServer({ wrap, quietEnd: true })
  const alice = await register(server, 'alice')
  const socket = await online(server, alice)
  const took = [], waiting = []
  const begin = performance.now()
  for (let i = 0; i < 500; i++) {
    await sleep(Math.max(0, begin + i * 20 - performance.now()))
    const sent = performance.now()
    waiting.push(socket.say(`message ${i}`).then(() => took.push(performance.now() - sent)))
  }
  await Promise.all(waiting)
  took.sort((a, b) => a - b)
  const at = share => took[Math.floor(took.length * share)].toFixed(0)
  console.log(`  ${took.length} messages acknowledged; ms: median ${at(0.5)}, p99 ${at(0.99)}, worst ${took.at(-1).toFixed(0)}`)
  await server.stop()
  // Slower than the card could be, it was not slowed at all: then the measurement proves nothing.
  return Number(at(0.5)) >= 25 && Number(at(0.99)) <= 150
}

const tests = { idle, 'slow-card': slowCard }
process.exit(await tests[what]() ? 0 : 1)
