// Promise: a server at work has given up all files but its data and all system calls but its own, in every thread, and
// nobody notices: reloading, backups, Unix sockets, service managers and commands go on as ever. Where the kernel cannot
// confine it says so in one line, or ends with --sandbox require. (tests/unit/test_sandbox.cpp tries what is forbidden.)

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { PASSWORD, call, http, login, online, register } from '../support/client.mjs'
import { binary, cli, runProgram, startServer, temporary } from '../support/server.mjs'
import { eventually, test } from '../support/suite.mjs'

const instrumented = /\b(asan|tsan|msan|coverage|valgrind)\b/.test(binary)
const root = process.getuid() === 0

/** What /proc tells of every thread: [Seccomp, NoNewPrivs]. */
const threads = server => readdirSync(`/proc/${server.pid}/task`).map(id => {
  const status = readFileSync(`/proc/${server.pid}/task/${id}/status`, 'utf8')
  return [/^Seccomp:\s+(\d)/m.exec(status)?.[1], /^NoNewPrivs:\s+(\d)/m.exec(status)[1]]
})

const confined = async () => {
  const server = await startServer()
  const able = !server.lines.some(line => /not all is confined/.test(line))
  await server.stop()
  return able
}
const able = await confined()
const skip = able ? '' : instrumented ? 'a build with instruments is not confined' : 'this kernel cannot confine'

test('every thread is confined by default, those that are started later too', async () => {
  const server = await startServer()
  const before = threads(server)
  assert.ok(before.length >= 2, `${before.length} threads`)
  for (const one of before) assert.deepEqual(one, ['2', '1'])
  const alice = await register(server, 'alice'), a = await online(server, alice)
  for (let i = 0; i < 20; i++) await a.say(`hello ${i}`)
  await call(server, 'POST', '/api/me/password', { token: alice.token, json: { old: PASSWORD, new: 'another long password' } }, 204)
  for (const one of threads(server)) assert.deepEqual(one, ['2', '1'])
  await a.close()
}, { skip })

test('--sandbox off leaves it as it is; the process gains no rights even so', async () => {
  const server = await startServer({ args: ['--sandbox', 'off'] })
  for (const one of threads(server)) assert.deepEqual(one, ['0', '1'])
  await register(server, 'alice')
})

test('a thread has a stack of 512 KiB, and nothing leaves a core file, whatever the shell allows', async () => {
  for (const wrap of [[], ['prlimit', '--core=unlimited', '--stack=8388608:unlimited']]) {
    const server = await startServer({ wrap })
    const limits = readFileSync(`/proc/${server.pid}/limits`, 'utf8')
    assert.match(limits, /^Max stack size +524288 /m)
    assert.match(limits, /^Max core file size +0 +0 /m)
    await register(server, 'alice') // a hash is made by another thread
    await server.stop()
  }
})

test('--sandbox require starts where the kernel can, and else ends with a line that says why', async () => {
  const data = join(temporary(), 'data')
  if (able) {
    const server = await startServer({ args: ['--sandbox', 'require'], data })
    assert.equal((await http(server, 'GET', '/login')).status, 200)
    return
  }
  const { code, stderr } = await runProgram(binary, ['serve', '--sandbox', 'require', '--listen', '127.0.0.1:0', '--data', data])
  assert.equal(code, 1)
  assert.match(stderr, /--sandbox require/)
})

test('where the kernel cannot, auto goes on with one line for each and require ends', async () => {
  // A filter from outside answers ENOSYS to both, as an old kernel does: python3 is not needed where setpriv and the like are not.
  const play = join(temporary(), 'old-kernel')
  const source = `${play}.c`
  writeFileSync(source, `#include <stddef.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter f[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)}, {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, __NR_seccomp},
        {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 444}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}, {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS}};
    struct sock_fprog p = {5, f};
    (void)argc;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p)) return 99;
    execv(argv[1], argv + 1);
    return 98;
}
`)
  execFileSync('gcc', ['-o', play, source])
  const server = await startServer({ wrap: [play] })
  const lines = server.errors.filter(line => /not all is confined/.test(line))
  assert.equal(lines.length, 2, server.log())
  assert.match(lines[0], /Landlock/)
  assert.match(lines[1], /system calls/)
  await register(server, 'alice')
  await server.stop()
  const { code, stderr } = await runProgram(play, [binary, 'serve', '--sandbox', 'require', '--listen', '127.0.0.1:0', '--data', join(temporary(), 'data')])
  assert.equal(code, 1)
  assert.match(stderr.trimEnd().split('\n').at(-1), /^chatterbox: .*Landlock.*\(--sandbox require\)$/)
}, { skip, timeout: 20_000 })

test('SIGHUP reads a configuration and stop words that an editor has replaced by others of that name', async () => {
  const dir = temporary(), conf = join(dir, 'chat.conf'), words = join(dir, 'words')
  writeFileSync(conf, 'registration = open\n')
  writeFileSync(words, 'turnip\n')
  const server = await startServer({ args: ['--config', conf, '--stop-words', words] })
  const alice = await register(server, 'alice'), a = await online(server, alice)
  writeFileSync(`${conf}.new`, 'registration = closed\n')
  renameSync(`${conf}.new`, conf)
  writeFileSync(`${words}.new`, 'parsnip\n')
  renameSync(`${words}.new`, words)
  process.kill(server.pid, 'SIGHUP')
  await eventually('a line about it', () => server.lines.some(line => /stop words read again \(1 stop words\)/.test(line)))
  assert.equal((await http(server, 'POST', '/api/register', { json: { username: 'bob', password: PASSWORD } })).status, 403)
  await a.say('turnip is fine now')
  a.send({ type: 'message', text: 'parsnip', nonce: 'p' })
  assert.equal((await a.until(f => f.nonce === 'p')).type, 'warning')
  await a.close()
})

test('a backup goes where the command may write, and the server may not', async () => {
  const server = await startServer()
  const alice = await register(server, 'alice'), a = await online(server, alice)
  const said = await a.say('kept')
  const dir = temporary(), file = join(dir, 'copy.db')
  const { code, stdout, stderr } = await runProgram(binary, ['backup', 'copy.db', '--data', server.data], { cwd: dir })
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'backed up to copy.db\n')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(dir), ['copy.db'])
  await a.say('and on it goes')
  const other = join(temporary(), 'data')
  mkdirSync(other, { mode: 0o700 })
  writeFileSync(join(other, 'chatterbox.db'), readFileSync(file), { mode: 0o600 })
  const restored = await startServer({ data: other })
  const { messages } = await call(restored, 'GET', '/api/rooms/1/messages', { token: alice.token })
  assert.deepEqual(messages.map(m => m.id), [said.id])
  await a.close()
})

test('the file of a Unix socket outside the data is gone after the stop', async () => {
  const dir = temporary(), path = join(dir, 'http.sock')
  const server = await startServer({ args: ['--listen', '127.0.0.1:0', '--listen', `unix:${path}`] })
  assert.ok(statSync(path).isSocket())
  assert.equal(await server.stop(), 0)
  assert.ok(!existsSync(path))
  // Nor does a server that could not start leave one.
  const refused = await cli(['serve', '--listen', `unix:${path}`, '--data', '/dev/null/none'])
  assert.equal(refused.code, 1)
  assert.ok(!existsSync(path))
})

test('a service manager hears of the start and of the stop', async () => {
  const path = join(temporary(), 'manager')
  const heard = []
  // Node has no datagram sockets of the Unix kind: python is asked to listen, where there is one.
  const listener = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1]); print("ready",flush=True)
for i in range(2): print(s.recv(100).decode(),flush=True)`
  const { spawn } = await import('node:child_process')
  const manager = spawn('python3', ['-c', listener, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  manager.stdout.on('data', text => heard.push(...String(text).trim().split('\n')))
  await eventually('the manager listens', () => heard.includes('ready'))
  const server = await startServer({ env: { NOTIFY_SOCKET: path } })
  await eventually('READY=1', () => heard.includes('READY=1'))
  await server.stop()
  await eventually('STOPPING=1', () => heard.includes('STOPPING=1'))
  manager.kill()
}, { skip: (() => { try { execFileSync('python3', ['-c', '']); return '' } catch { return 'no python3 to play the manager' } })() })

test('when file descriptors run out, those who come are turned away, and afterwards served', async () => {
  // 40 descriptors: about twenty connections. Twice, since the spare one must be had again without opening anything.
  const server = await startServer({ wrap: ['prlimit', '--nofile=40:40'] })
  const alice = await register(server, 'alice')
  const { connect } = await import('node:net')
  for (let round = 0; round < 3; round++) {
    const crowd = await Promise.all(Array.from({ length: 80 }, () => new Promise(done => {
      const s = connect(server.port, server.host, () => done(s))
      s.on('error', () => done(s)).resume()
    })))
    await eventually('some were turned away', () => crowd.some(s => s.closed || s.destroyed || s.readyState !== 'open'))
    for (const s of crowd) s.destroy()
    await eventually('served again', async () => {
      try { return (await http(server, 'GET', '/api/me', { token: alice.token })).status === 200 } catch { return false }
    })
  }
})

test('--user: root becomes somebody for good, and the data is theirs', async () => {
  const dir = temporary()
  chmodSync(dir, 0o755)
  const data = join(dir, 'data')
  const server = await startServer({ args: ['--user', '4321:4322'], data })
  const status = readFileSync(`/proc/${server.pid}/status`, 'utf8')
  assert.match(status, /^Uid:\s+4321\s+4321\s+4321\s+4321$/m)
  assert.match(status, /^Gid:\s+4322\s+4322\s+4322\s+4322$/m)
  assert.match(status, /^Groups:\s*$/m)
  assert.match(status, /^CapEff:\s+0+$/m)
  assert.match(status, /^CapPrm:\s+0+$/m)
  for (const name of ['', 'chatterbox.db', 'lock', 'control']) assert.equal(statSync(join(data, name)).uid, 4321, name)
  await register(server, 'alice')
  // Root's commands go through the server, and without it they leave nothing of root's behind.
  assert.equal((await server.cli(['user', 'add', 'bob'], { stdin: `${PASSWORD}\n` })).code, 0)
  await server.stop()
  assert.equal((await server.cli(['user', 'add', 'carol', '--user', '4321:4322'], { stdin: `${PASSWORD}\n` })).code, 0)
  for (const name of readdirSync(data)) assert.equal(statSync(join(data, name)).uid, 4321, name)
  await server.restart()
  await login(server, 'carol')
  await server.stop()
  chownSync(data, 0, 0)
  const refused = await runProgram(binary, ['serve', '--listen', '127.0.0.1:0', '--data', data, '--user', '4321:4322'])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /chown -R 4321:4322/)
}, { timeout: 30_000, skip: root ? '' : 'needs root' })

test('--user: who is not root cannot become another', async () => {
  const dir = temporary()
  chmodSync(dir, 0o777)
  const run = root ? ['setpriv', ['--reuid=4321', '--regid=4322', '--clear-groups', binary]] : [binary, []]
  const { code, stderr } = await runProgram(run[0], [...run[1], 'serve', '--listen', '127.0.0.1:0', '--data', join(dir, 'data'), '--user', '4399:4399'])
  assert.equal(code, 1)
  assert.match(stderr, /only root can become another user/)
}, { skip: !root || binary.startsWith('/tmp/') || existsSync('/usr/bin/setpriv') ? '' : 'needs setpriv' })
