// Promise: the command line does what it says with and without a running server, refuses bad usage with one line and
// exit 2, and keeps one writer to a directory; a backup restores under a new epoch (PROTOCOL §5).

import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PASSWORD, call, http, login, online, refused, register, wholeRoom } from '../support/client.mjs'
import { cli, freePort, startServer, temporary } from '../support/server.mjs'
import { eventually, test } from '../support/suite.mjs'

const server = await startServer()
const alice = await register(server, 'alice')

/** The command must succeed; gives its standard output. */
async function good(run) {
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, `exit ${code}: ${stdout}${stderr}`)
  return stdout
}

/** The command must fail with this status and a sentence on standard error. */
async function bad(run, status, pattern = /\S/) {
  const { code, stdout, stderr } = await run
  assert.equal(code, status, `exit ${code}: ${stdout}${stderr}`)
  const lines = stderr.trimEnd().split('\n')
  assert.equal(lines.length, 1, `one line, not ${JSON.stringify(stderr)}`)
  assert.match(lines[0], pattern)
  assert.ok(lines[0].length < 400)
}

test('version', async () => {
  assert.match(await good(cli(['version'])), /ChatterBox.* \d+\.\d+\.\d+/i)
})

test('help tells every option of §5', async () => {
  const text = await good(cli(['serve', '--help']))
  for (const option of ['--listen', '--data', '--registration', '--durability', '--stop-words', '--warnings', '--password-memory', '--password-ops', '--message-rate', '--request-rate', '--login-rate',
    '--max-sockets', '--max-sockets-per-user', '--max-connections-per-address', '--deflate', '--allow-origin', '--trust-proxy', '--config', '--log-level', '--log-format']) {
    assert.ok(text.includes(option), option)
  }
})

test('bad usage is exit 2 with one line that says what and how', async () => {
  const data = join(temporary(), 'd')
  for (const [args, pattern] of [
    [['serve', '--no-such-option'], /--no-such-option/], [['serve', '--registration', 'perhaps'], /registration.*(open|invite|closed)/], [['serve', '--listen', 'localhost:8000'], /listen/],
    [['serve', '--listen', '127.0.0.1:99999'], /listen/], [['serve', '--listen', '127.0.0.1'], /listen/], [['serve', '--listen'], /listen/], [['serve', '--durability', 'half'], /durability/],
    [['serve', '--warnings', 'many'], /warnings/], [['serve', '--warnings', '-1'], /warnings/], [['serve', '--message-rate', '20'], /message-rate/], [['serve', '--message-rate', '0/0'], /message-rate/],
    [['serve', '--password-memory', '0'], /password-memory/], [['serve', '--deflate', 'maybe'], /deflate/], [['serve', '--allow-origin', 'not an origin'], /allow-origin/],
    [['serve', '--trust-proxy', '10.0.0.0/99'], /trust-proxy/], [['serve', '--max-sockets', '1e9'], /max-sockets/], [['serve', 'unexpected'], /unexpected/], [['dance'], /dance/], [['user'], /user/],
    [['user', 'juggle', 'bob'], /juggle/], [['user', 'add'], /./], [['user', 'role', 'alice', 'king'], /king|role/], [['backup'], /./], [['serve', '--stop-words', '/nowhere/at/all'], /stop-words|\/nowhere/],
    [['serve', '--config', '/nowhere/at/all'], /config|\/nowhere/], [['version', 'x'], /usage: chatterbox version/],
  ]) {
    await bad(cli([...args, '--data', data].slice(0, args.at(-1) === '--listen' ? -2 : undefined)), 2, pattern)
    assert.ok(!existsSync(data), `${args} made a directory`)
  }
})

test('a password is never an argument', async () => {
  const { code } = await server.cli(['user', 'add', 'mallory', 'a password here'], { stdin: '' })
  assert.notEqual(code, 0)
})

for (const running of [true, false]) {
  const where = running ? 'with a running server' : 'without one'
  const name = running ? 'online-otto' : 'offline-otto'
  test(`user add, list, role, password, block, unblock, delete ${where}`, async () => {
    if (!running) await server.stop()
    const run = (args, stdin) => server.cli(args, { stdin })
    await good(run(['user', 'add', name], `${PASSWORD}\n`))
    await bad(run(['user', 'add', name], `${PASSWORD}\n`), 1, /taken|exists/i)
    await bad(run(['user', 'add', 'bad name'], `${PASSWORD}\n`), 1)
    await bad(run(['user', 'add', 'shorty'], 'short\n'), 1, /password/i)
    await good(run(['user', 'add', '--role', 'moderator', `${name}-mod`], `${PASSWORD}\n`))
    assert.match(await good(run(['user', 'list'])), new RegExp(`${name}\\b.*\\n(.*\\n)*.*${name}-mod.*moderator`))
    await good(run(['user', 'role', name, 'admin']))
    await good(run(['user', 'password', name], 'another good password\n'))
    await good(run(['user', 'block', name]))
    assert.match(await good(run(['user', 'list'])), new RegExp(`${name}\\b.*blocked`))
    await good(run(['user', 'unblock', name]))
    assert.match(await good(run(['user', 'logout', name])), /logged out/)
    for (const command of ['block', 'unblock', 'delete', 'password', 'logout']) await bad(run(['user', command, 'nobody-at-all'], `${PASSWORD}\n`), 1, /nobody-at-all|no such|not found/i)
    if (!running) await server.restart()
    const otto = await login(server, name, 'another good password')
    assert.equal(otto.user.role, 'admin')
    await refused(server, 'POST', '/api/login', { json: { username: name, password: PASSWORD } }, 401)
    if (!running) await server.stop()
    await good(run(['user', 'delete', `${name}-mod`]))
    if (!running) await server.restart()
    await refused(server, 'POST', '/api/login', { json: { username: `${name}-mod`, password: PASSWORD } }, 401, 'bad_credentials')
    await refused(server, 'POST', '/api/register', { json: { username: `${name}-mod`, password: PASSWORD } }, 409, 'name_taken')
  }, { timeout: 30_000 })
}

test('user logout ends every session of one person, at once or for the next start, and nothing else', async () => {
  const one = await register(server, 'wanderer'), two = await login(server, 'wanderer')
  const sockets = [await online(server, one), await online(server, two)], other = await online(server, alice)
  assert.match(await good(server.cli(['user', 'logout', 'wanderer'])), /wanderer is logged out everywhere/)
  for (const socket of sockets) await socket.expectClose(4001)
  for (const { token } of [one, two]) await refused(server, 'GET', '/api/me', { token }, 401, 'unauthorized')
  await other.reaches(0)
  await other.close()
  const three = await login(server, 'wanderer')
  await server.stop()
  await good(server.cli(['user', 'logout', 'wanderer']))
  await server.restart()
  await refused(server, 'GET', '/api/me', { token: three.token }, 401, 'unauthorized')
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
  await login(server, 'wanderer')
})

test('what the command line does is seen at once by who is online', async () => {
  const a = await online(server, alice)
  await good(server.cli(['user', 'add', 'newcomer'], { stdin: `${PASSWORD}\n` }))
  await a.until(f => f.type === 'user' && f.user.username === 'newcomer')
  const n = await online(server, await login(server, 'newcomer'))
  const said = await n.say('my words stay')
  await good(server.cli(['user', 'role', 'newcomer', 'moderator']))
  assert.equal((await a.until(f => f.type === 'user' && f.user.username === 'newcomer' && f.user.role === 'moderator')).user.role, 'moderator')
  await good(server.cli(['user', 'delete', 'newcomer']))
  await n.expectClose(4001)
  const gone = await a.until(f => f.type === 'user' && f.user.username === 'newcomer' && f.user.deleted)
  assert.equal(gone.user.deleted, true)
  const page = await call(server, 'GET', '/api/rooms/1/messages', { token: alice.token })
  assert.equal(page.messages.find(m => m.id === said.id).text, 'my words stay')
  const members = await call(server, 'GET', '/api/rooms/1/members', { token: alice.token })
  assert.ok(!members.members.some(u => u.username === 'newcomer'), 'memberships end')
  await a.close()
})

test('a password set by the command line ends the sessions', async () => {
  const bob = await register(server, 'bob')
  const b = await online(server, bob)
  await good(server.cli(['user', 'password', 'bob'], { stdin: 'set by the administrator\n' }))
  await b.expectClose(4001)
  await refused(server, 'GET', '/api/me', { token: bob.token }, 401)
  await login(server, 'bob', 'set by the administrator')
})

test('a second server on the same directory is refused with a clear line', async () => {
  const { code, stderr } = await cli(['serve', '--listen', '127.0.0.1:0', '--data', server.data])
  assert.notEqual(code, 0)
  assert.match(stderr, /already|another|in use|lock/i)
  assert.match(stderr, new RegExp(server.data.replaceAll('/', '\\/')))
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
})

test('the data directory is private: 0700, its files for nobody else', async () => {
  assert.equal(statSync(server.data).mode & 0o777, 0o700)
  for (const name of ['chatterbox.db', 'lock']) assert.equal(statSync(join(server.data, name)).mode & 0o077, 0, name)
  assert.equal(statSync(join(server.data, 'control')).mode & 0o777, 0o600)
  assert.ok(statSync(join(server.data, 'control')).isSocket())
})

test('the way to the data directory is made too, and only the last is private', async () => {
  const top = temporary(), deep = await startServer({ data: join(top, 'way', 'to', 'data') })
  assert.equal(statSync(deep.data).mode & 0o777, 0o700)
  for (const on of ['way', 'way/to']) assert.equal(statSync(join(top, on)).mode & 0o777, 0o777 & ~process.umask(), on)
  await deep.stop()
})

test('garbage and silence on the control socket hold up nobody', async () => {
  const path = join(server.data, 'control')
  const strangers = Array.from({ length: 6 }, (_, i) => {
    const socket = connect(path)
    socket.on('error', () => { /* refused is fine */ })
    if (i % 3 === 0) socket.write('GET / HTTP/1.1\r\n\r\n')
    if (i % 3 === 1) socket.write(Buffer.alloc(300_000, 0xff))
    return socket
  })
  assert.match(await good(server.cli(['user', 'list'])), /alice/)
  await call(server, 'GET', '/api/me', { token: alice.token }, 200)
  strangers.forEach(socket => socket.destroy())
  assert.match(await good(server.cli(['user', 'list'])), /alice/)
})

test('backup of a running server, restored: all is there, under a new epoch', async () => {
  const a = await online(server, alice)
  const { epoch } = a.welcome
  for (let i = 0; i < 50; i++) a.send({ type: 'message', text: `kept ${i}`, nonce: `k${i}` })
  const last = await a.until(f => f.nonce === 'k49')
  const dir = temporary(), file = join(dir, 'backup.db')
  const writing = (async () => { for (let i = 0; i < 200; i++) { a.send({ type: 'message', text: `meanwhile ${i}` }); if (i % 20 === 0) await new Promise(done => setTimeout(done, 2)) } })()
  await good(server.cli(['backup', file]))
  await writing
  await bad(server.cli(['backup', file]), 1, /exists|already/i)
  const lost = await a.say('after the backup')
  const data = join(dir, 'data')
  mkdirSync(data, { mode: 0o700 })
  copyFileSync(file, join(data, 'chatterbox.db'))
  const restored = await startServer({ data })
  const me = await call(restored, 'GET', '/api/me', { token: alice.token }, 200)
  assert.notEqual(me.epoch, epoch)
  const all = await wholeRoom(restored, alice.token)
  assert.equal(all.filter(m => /^kept/.test(m.text)).length, 50)
  assert.ok(all.some(m => m.id === last.id))
  assert.ok(!all.some(m => m.text === 'after the backup'))
  const meanwhile = all.filter(m => /^meanwhile/.test(m.text)).map(m => Number(m.text.split(' ')[1]))
  assert.deepEqual(meanwhile, meanwhile.map((_, i) => i), 'a consistent moment, not a mixture')
  const back = await online(restored, alice, { since: lost.rev, epoch })
  assert.equal(back.welcome.resumed, false, 'what it has seen may be gone')
  await back.close()
  await restored.restart()
  assert.equal((await call(restored, 'GET', '/api/me', { token: alice.token })).epoch, me.epoch, 'the new epoch stays')
  await restored.stop()
  await a.close()
}, { timeout: 30_000 })

test('backup without a running server works as well', async () => {
  const file = join(temporary(), 'cold.db')
  await server.stop()
  await good(server.cli(['backup', file]))
  await server.restart()
  assert.equal(readFileSync(file).subarray(0, 15).toString(), 'SQLite format 3')
  assert.equal(statSync(file).mode & 0o077, 0, 'a backup holds everything: it is private')
})

test('an administrator is made before the first start', async () => {
  const data = join(temporary(), 'fresh')
  await good(cli(['user', 'add', '--role', 'admin', 'boss', '--data', data], { stdin: `${PASSWORD}\n` }))
  assert.equal(statSync(data).mode & 0o777, 0o700)
  const s = await startServer({ data })
  assert.equal(s.adminInvite(), undefined, 'there is an administrator already')
  assert.equal((await login(s, 'boss')).user.role, 'admin')
  await s.stop()
})

test('stop-words lists what is in force, and tests a text', async () => {
  const file = join(temporary(), 'words')
  writeFileSync(file, 'alpha\nbeta*\n')
  const text = await good(cli(['stop-words', '--stop-words', file, '--data', server.data]))
  assert.match(text, /alpha/)
  assert.match(text, /beta\*/)
})

test('the flag wins over the variable, the variable over the file', async () => {
  const file = join(temporary(), 'conf')
  writeFileSync(file, '# a comment\nregistration = closed\nwarnings = 7\n')
  const mode = async options => {
    const s = await startServer(options)
    const { status, json } = await http(s, 'POST', '/api/register', { json: { username: 'x1', password: PASSWORD } })
    await s.stop()
    return status === 201 ? 'open' : json.error === 'registration_closed' ? 'closed' : 'invite'
  }
  assert.equal(await mode({ args: ['--config', file] }), 'closed')
  assert.equal(await mode({ args: ['--config', file], env: { CHATTERBOX_REGISTRATION: 'open' } }), 'open')
  assert.equal(await mode({ args: ['--config', file, '--registration', 'open'], env: { CHATTERBOX_REGISTRATION: 'closed' } }), 'open')
  assert.equal(await mode({ env: { CHATTERBOX_REGISTRATION: 'closed' } }), 'closed')
})

test('--log-format json: every line on standard error is JSON', async () => {
  const file = join(temporary(), 'conf')
  writeFileSync(file, 'warnings = 3\n')
  const s = await startServer({ args: ['--log-format', 'json', '--log-level', 'debug', '--config', file] })
  writeFileSync(file, 'warnings = "many"\n')
  process.kill(s.pid, 'SIGHUP')
  await eventually('a line about it', () => s.errors.some(line => /warnings/.test(line)))
  const lines = s.errors.filter(line => line)
  for (const line of lines) assert.equal(typeof JSON.parse(line), 'object', line)
  await s.stop()
})

test('plain `chatterbox` serves', async () => {
  const plain = await startServer({ command: '' })
  assert.equal((await http(plain, 'GET', '/healthz')).status, 200)
  await plain.stop()
})

test('several addresses, IPv6 and a Unix socket at once', async () => {
  const path = join(temporary(), 'sock')
  const many = await startServer({ args: ['--listen', '127.0.0.1:0', '--listen', '[::1]:0', '--listen', `unix:${path}`] })
  const six = /listening on http:\/\/\[::1\]:(\d+)/.exec(many.log())
  assert.ok(six, many.log())
  assert.equal((await http({ host: '::1', port: Number(six[1]) }, 'GET', '/healthz')).status, 200)
  assert.equal((await http(many, 'GET', '/healthz', { socketPath: path, headers: { Host: 'localhost' } })).status, 200)
  await many.stop()
  assert.ok(!existsSync(path), 'the socket file is removed at the end')
  // A socket file that a crash left behind is in nobody's way.
  writeFileSync(join(many.data, 'left-over'), '')
  await many.restart()
  await many.kill9()
  await many.restart()
  assert.equal((await http(many, 'GET', '/healthz', { socketPath: path, headers: { Host: 'localhost' } })).status, 200)
})

test('an address that is taken is a clear line, not a crash', async () => {
  const { code, stderr } = await cli(['serve', '--listen', `127.0.0.1:${server.port}`, '--data', join(temporary(), 'd')])
  assert.ok(code !== 0 && code !== null, `exit ${code}`)
  assert.match(stderr, /in use|EADDRINUSE/i)
  assert.match(stderr, /another server is there/)
  assert.ok(stderr.includes(String(server.port)))
  // Both of them: the second is the first one's already.
  const port = await freePort()
  const twice = await cli(['serve', '--listen', `127.0.0.1:${port}`, '--listen', `[::]:${port}`, '--data', join(temporary(), 'd')])
  assert.equal(twice.code, 1)
  assert.match(twice.stderr, /or by the --listen before: \[::\] takes IPv4 too/)
})

test('what is no database is refused and left as it is', async () => {
  const data = join(temporary(), 'data')
  mkdirSync(data)
  const junk = 'This is not a database, but somebody may love it.\n'.repeat(100)
  writeFileSync(join(data, 'chatterbox.db'), junk)
  const { code, stderr } = await cli(['serve', '--listen', '127.0.0.1:0', '--data', data])
  assert.ok(code !== 0 && code !== null)
  assert.match(stderr, /chatterbox\.db|database/i)
  assert.equal(readFileSync(join(data, 'chatterbox.db'), 'utf8'), junk)
  rmSync(data, { recursive: true })
})
