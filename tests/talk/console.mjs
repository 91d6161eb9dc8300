// Promise: what people do at the console of a machine meets a clear answer and does no harm: closed streams, full disks, folders of somebody else's, a lock that was
// tidied away, commands that come all at once, a log that nobody reads.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { appendFileSync, chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PASSWORD, http, login, online, register } from '../support/client.mjs'
import { binary, cli, freePort, runProgram, startServer, temporary } from '../support/server.mjs'
import { eventually, sleep, test } from '../support/suite.mjs'

const isRoot = process.getuid() === 0
const sh = (script, args, options) => runProgram('sh', ['-c', script, binary, ...args], options)
/** A folder in which there is an account, and no server. */
async function folder() {
  const data = join(temporary(), 'd')
  assert.equal((await cli(['user', 'add', 'anna'], { data, stdin: `${PASSWORD}\n` })).code, 0)
  return data
}

test('check: a backup that was just put in its place is sound, whatever log a killed server left', async () => {
  const server = await startServer(), data = server.data
  const alice = await online(server, await register(server, 'alice'))
  await alice.say('before')
  const file = join(temporary(), 'copy')
  assert.equal((await server.cli(['backup', file])).code, 0)
  for (let i = 0; i < 200; i++) await alice.say(`behind it ${i} ${'x'.repeat(500)}`)
  await server.kill9()
  assert.ok(statSync(join(data, 'chatterbox.db-wal')).size > 0)
  copyFileSync(file, join(data, 'chatterbox.db'))
  const checked = await cli(['check'], { data })
  assert.deepEqual([checked.code, checked.stderr], [0, ''], checked.stdout)
})

test('check: where nothing can be written it looks all the same, or says that it cannot', async () => {
  const data = await folder(), program = join(temporary(), 'chatterbox')
  copyFileSync(binary, program)
  chmodSync(join(program, '..'), 0o755)
  chmodSync(program, 0o755)
  chmodSync(join(data, '..'), 0o755)
  if (isRoot) for (const name of ['', '/chatterbox.db', '/lock']) if (existsSync(data + name)) chownSync(data + name, 65534, 65534)
  chmodSync(data, 0o500)
  const check = () => runProgram(program, ['check', '--data', data], isRoot ? { as: 65534 } : {})
  const sound = await check()
  assert.deepEqual([sound.code, sound.stderr], [0, ''], sound.stdout)
  chmodSync(data, 0o700)
  writeFileSync(join(data, 'chatterbox.db-wal'), Buffer.alloc(10_000, 1))
  chmodSync(data, 0o500)
  const unknown = await check()
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /could not be looked at/)
  assert.doesNotMatch(unknown.stderr, /not sound/)
  chmodSync(data, 0o700)
})

test('check: an empty file is what a start leaves that came to nothing', async () => {
  const data = await folder()
  truncateSync(join(data, 'chatterbox.db'), 0)
  const { code, stderr } = await cli(['check'], { data })
  assert.equal(code, 1)
  assert.match(stderr, /empty.*the next one makes it/)
})

test('a password is stored whole or not at all', async () => {
  const server = await startServer()
  const whole = { nul: 'longpass wort\0secret extra', cr: 'longpass wort\rsecret extra', long: '각'.repeat(128).normalize('NFD') }
  assert.ok(Buffer.byteLength(whole.long) > 1023)
  for (const [name, password] of Object.entries(whole)) {
    const added = await server.cli(['user', 'add', name], { stdin: `${password}\n` })
    const tried = await http(server, 'POST', '/api/login', { json: { username: name, password } })
    assert.deepEqual([added.code, tried.status], [0, 200], `${name}: ${added.stderr}`)
  }
  assert.equal((await http(server, 'POST', '/api/login', { json: { username: 'nul', password: 'longpass wort' } })).status, 401)
  for (const end of ['', '\n', '\r\n']) {
    assert.equal((await server.cli(['user', 'password', 'nul'], { stdin: `a password ${end.length}${end}` })).code, 0)
    assert.equal((await http(server, 'POST', '/api/login', { json: { username: 'nul', password: `a password ${end.length}` } })).status, 200)
  }
  assert.equal((await server.cli(['user', 'add', 'endless'], { stdin: 'x'.repeat(100_000) })).code, 1)
  await server.stop()
})

test('no input is no password', async () => {
  const data = await folder()
  for (const from of ['<&-', '</dev/null']) {
    const { code, stderr } = await sh(`exec "$0" user add bob --data "$1" ${from}`, [data])
    assert.equal(code, 1)
    assert.match(stderr, /a password is needed/)
  }
})

test('an answer that cannot be written is no success', async () => {
  const data = await folder()
  for (const command of ['user list', 'check', 'stop-words', 'version', '--help', 'serve --help', 'user block anna']) {
    const { code, stderr } = await sh(`exec "$0" ${command} --data "$1" >/dev/full`, [data])
    assert.equal(code, 1, command)
    assert.match(stderr, /could not be written/, command)
  }
})

test('what is wrong on the line is named', async () => {
  const data = await folder()
  for (const [args, pattern] of [[['user', 'add', '-x'], /-x.*--/], [['version', '--json'], /--json/], [['user', 'add', 'bob', '--role'], /--role.*admin/], [['user', 'add', 'bob', '--role='], /--role=/],
    [['backup', 'f', '--role', 'admin'], /--role goes with/], [['check', '--role', 'x'], /--role goes with/]]) {
    const { code, stderr } = await cli(args, { data })
    assert.equal(code, 2, `${args}`)
    assert.match(stderr, pattern)
  }
  const { code, stderr } = await sh('exec "$0" user block "$(printf "\\377\\376")" --data "$1"', [data])
  assert.deepEqual([code, stderr], [2, 'chatterbox: an argument is not UTF-8\n'])
})

test('stop-words tells those that the server has read', async () => {
  const file = join(temporary(), 'words')
  writeFileSync(file, 'alpha\n')
  const server = await startServer({ args: ['--stop-words', file] })
  appendFileSync(file, 'beta\n')
  assert.equal((await server.cli(['stop-words'])).stdout, 'alpha\n')
  const said = async text => { const { code, stdout } = await server.cli(['stop-words', text]); return [code, stdout] }
  assert.deepEqual(await said('you alpha'), [1, 'stopped\n'])
  assert.deepEqual(await said('you beta'), [0, 'let through\n'])
  process.kill(server.pid, 'SIGHUP')
  await eventually('it has read the list again', async () => (await said('you beta'))[0] === 1)
  await server.stop()
})

test('without its lock a server is still found', async () => {
  const server = await startServer(), mallory = await register(server, 'mallory'), s = await online(server, mallory)
  rmSync(join(server.data, 'lock'))
  const second = await cli(['serve', '--listen', '127.0.0.1:0'], { data: server.data })
  assert.equal(second.code, 1)
  assert.match(second.stderr, /already running/)
  assert.equal((await cli(['user', 'block', 'mallory'], { data: server.data })).code, 0)
  await s.expectClose(4002)
  await server.stop()
})

test('backups of one name at once: one is made, whole', async () => {
  const data = await folder(), to = join(temporary(), 'copy')
  const codes = (await Promise.all([1, 2, 3].map(() => cli(['backup', to], { data })))).map(r => r.code)
  assert.equal(codes.filter(code => code === 0).length, 1, `${codes}`)
  assert.ok(!existsSync(`${to}.part`))
  const restored = join(temporary(), 'd')
  mkdirSync(restored)
  copyFileSync(to, join(restored, 'chatterbox.db'))
  assert.equal((await cli(['check'], { data: restored })).code, 0)
})

test('a backup begins one anew that was broken off, and leaves a file alone that is no backup', async () => {
  const data = await folder(), to = join(temporary(), 'copy')
  writeFileSync(`${to}.part`, `SQLite format 3\0${'half a database'.repeat(1000)}`)
  assert.equal((await cli(['backup', to], { data })).code, 0)
  assert.ok(!existsSync(`${to}.part`))
  writeFileSync(`${to}2.part`, 'precious')
  const { code, stderr } = await cli(['backup', `${to}2`], { data })
  assert.equal(code, 1)
  assert.match(stderr, /in the way/)
  assert.equal(readFileSync(`${to}2.part`, 'utf8'), 'precious')
})

test('commands by the dozen, and silent connections, keep nobody from the console', async () => {
  const server = await startServer()
  await register(server, 'alice')
  const silent = Array.from({ length: 16 }, () => connect(join(server.data, 'control')))
  await Promise.all(silent.map(s => new Promise(done => s.on('connect', done).on('error', done))))
  const answers = await Promise.all(Array.from({ length: 40 }, () => server.cli(['user', 'list'])))
  for (const { code, stdout, stderr } of answers) {
    assert.ok(code === 0 ? /alice/.test(stdout) : /try again/.test(stderr), stderr)
  }
  await sleep(1100)
  assert.equal((await server.cli(['user', 'list'])).code, 0)
  silent.forEach(s => s.destroy())
  await server.stop()
})

test('a log that nobody reads holds nobody up', async () => {
  const place = temporary(), port = await freePort()
  const child = spawn('sh', ['-c', 'mkfifo "$1/log" && exec 3<>"$1/log" && exec "$0" serve --data "$1/d" --listen "127.0.0.1:$2" 2>&3', binary, place, String(port)], { stdio: 'ignore' })
  const ended = new Promise(done => child.on('close', (code, signal) => done(signal ?? code)))
  try {
    const server = { host: '127.0.0.1', port, url: `http://127.0.0.1:${port}` }
    await eventually('it serves', () => http(server, 'GET', '/healthz').then(res => res.status === 200, () => false))
    for (let i = 0; i < 700; i++) { // 64 KiB are taken by the kernel
      child.kill('SIGHUP')
      await sleep(2)
    }
    assert.equal((await http(server, 'GET', '/healthz')).status, 200)
    child.kill('SIGTERM')
    assert.equal(await ended, 0)
  } finally {
    child.kill('SIGKILL')
  }
}, { timeout: 30_000 })

test('SIGHUP changes how much is logged, and how', async () => {
  const file = join(temporary(), 'conf')
  writeFileSync(file, 'log-level = info\n')
  const server = await startServer({ args: ['--config', file] })
  writeFileSync(file, 'log-level = info\nlog-format = json\n')
  process.kill(server.pid, 'SIGHUP')
  await eventually('a line of JSON', () => /^\{"time":".*"message":"SIGHUP/m.test(server.log()))
  await server.stop()
})

test('the link of the first administrator is the proxy\'s where there is one', async () => {
  const place = temporary()
  const child = spawn(binary, ['serve', '--data', `${place}/d`, '--listen', `unix:${place}/s`, '--trust-proxy', 'unix', '--allow-origin', 'https://chat.example.org'], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.on('data', chunk => { said += chunk })
  await eventually('it serves', () => said.includes('listening on'))
  assert.match(said, /^ {2}https:\/\/chat\.example\.org\/register#invite=[0-9a-f]{32}$/m)
  child.kill('SIGTERM')
  await new Promise(done => child.on('close', done))
  assert.ok(!existsSync(`${place}/s`))
})

test('who stops leaves another server\'s socket alone', async () => {
  const place = temporary(), path = `${place}/s`
  const start = async name => {
    const child = spawn(binary, ['serve', '--data', `${place}/${name}`, '--listen', `unix:${path}`], { stdio: ['ignore', 'pipe', 'ignore'] })
    let said = ''
    child.stdout.on('data', chunk => { said += chunk })
    await eventually('it serves', () => said.includes('listening on'))
    return () => { child.kill('SIGTERM'); return new Promise(done => child.on('close', done)) }
  }
  const stopFirst = await start('a')
  rmSync(path)
  const stopSecond = await start('b')
  await stopFirst()
  assert.ok(existsSync(path))
  await stopSecond()
  assert.ok(!existsSync(path))
})

test('root\'s commands leave nothing of root\'s in a folder of somebody else\'s', async () => {
  const data = await folder()
  chmodSync(join(data, '..'), 0o755)
  for (const name of ['', '/chatterbox.db']) chownSync(data + name, 65534, 65534)
  for (const name of ['lock', 'reserve']) rmSync(join(data, name), { force: true })
  assert.equal((await cli(['user', 'list'], { data })).code, 0)
  for (const name of ['lock', 'reserve']) if (existsSync(join(data, name))) assert.equal(statSync(join(data, name)).uid, 65534, name)
  assert.ok(existsSync(join(data, 'lock')))
}, { skip: isRoot ? '' : 'only for root' })
