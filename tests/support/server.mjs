// Starts and stops a real ChatterBox for a test file: own port, own temporary data directory, cheap password hashes,
// no rate limits unless the test is about them. Owns the child processes and the directories it made: whatever way the
// test ends, nothing of them outlives it. The binary is $CHATTERBOX, else build/chatterbox of this checkout.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { atEnd, onFailure, within } from './suite.mjs'

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
export const binary = resolve(process.env.CHATTERBOX || join(root, 'build/chatterbox'))

/** For speed and repeatability; an option that the test gives itself replaces its row. */
const DEFAULTS = [
  ['--listen', '127.0.0.1:0'],
  ['--password-memory', '8'],
  ['--password-ops', '1'],
  ['--login-rate', 'off'],
  ['--message-rate', 'off'],
  ['--request-rate', 'off'],
]

// Options that the person at the keyboard has set are not for the tests.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CHATTERBOX_')))

const children = new Set()
const directories = new Set()
process.on('exit', () => {
  for (const child of children) { try { child.kill('SIGKILL') } catch { /* it is gone */ } }
  for (const dir of directories) rmSync(dir, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130))

/** A temporary directory that goes away with the test. */
export function temporary(prefix = 'chatterbox-test-') {
  const dir = mkdtempSync(join(tmpdir(), prefix))
  directories.add(dir)
  return dir
}

/** A port that was free a moment ago, for who cannot read which one was taken or needs the same twice. */
export const freePort = () => new Promise(done => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => done(port))
  })
})

/** Runs a program to its end: `{code, signal, stdout, stderr}`; root may run it `as` the user of a number. */
export function runProgram(program, args, { stdin = '', env = {}, cwd, as, timeout = 20_000 } = {}) {
  const child = spawn(program, args, { env: { ...environment, ...env }, cwd, stdio: 'pipe', ...(as ? { uid: as, gid: as } : {}) })
  children.add(child)
  const out = [], err = []
  child.stdout.on('data', chunk => out.push(chunk))
  child.stderr.on('data', chunk => err.push(chunk))
  child.stdin.on('error', () => { /* it did not want to read */ })
  child.stdin.end(stdin)
  const ended = new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code, signal) => {
      children.delete(child)
      done({ code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() })
    })
  })
  return within(timeout, `${program} ${args.join(' ')}`, ended).finally(() => child.kill('SIGKILL'))
}

/** Runs `chatterbox ARGS`; with `data` adds `--data DIR` behind the command words (before the first option). */
export function cli(args, options = {}) {
  const list = [...args]
  if (options.data) {
    const dashes = list.findIndex(a => a.startsWith('-'))
    list.splice(dashes < 0 ? list.length : dashes, 0, '--data', options.data)
  }
  return runProgram(binary, list, options)
}

/**
 * Starts a server and waits until it says that it listens.
 *   program  another one than `binary`
 *   args   more options; one of DEFAULTS given here replaces it
 *   data   a directory to use (and to leave alone afterwards); else a temporary one
 *   wrap   a program and its arguments to run the server under, such as ['prlimit', '--fsize=…']
 *   quietEnd  do not count an unclean end as a failure (for tests that break the server on purpose)
 */
export async function startServer({ program = binary, args = [], env = {}, data, wrap = [], command = 'serve', quietEnd = false } = {}) {
  if (!existsSync(program)) throw new Error(`there is no ${program}: run make ${program === binary ? '' : 'unit-programs'}, or set CHATTERBOX`)
  const server = {
    data: data ?? join(temporary(), 'data'),
    host: '127.0.0.1', port: 0, url: '', pid: 0, exit: null, lines: [], errors: [], args, env,

    /** Everything that the server printed on both streams since the first start. */
    log: () => server.lines.join('\n'),

    /** SIGTERM and wait; the exit status. It must end within 5 s (PROTOCOL §5). */
    async stop(signal = 'SIGTERM') {
      if (server.exit === null) process.kill(server.pid, signal)
      const { code, signal: by } = await within(6000, `the end of the server after ${signal}`, server.ended)
      return by ?? code
    },

    /** The power cut as far as a process can have one. */
    async kill9() {
      process.kill(server.pid, 'SIGKILL')
      await server.ended
    },

    /** Starts again on the same data and the same port; `more` changes args or env from now on. */
    async restart(more = {}) {
      if (server.exit === null) await server.stop()
      Object.assign(server, more)
      await begin(`${server.host}:${server.port}`)
    },

    /** Bytes of memory in use, from /proc. */
    rss: () => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]),

    /** The one-time token that makes an administrator, from the newest link that was printed. */
    adminInvite: () => server.lines.join('\n').match(/\/register#invite=([\w.~-]+)/g)?.at(-1)?.split('=')[1],

    /** A command of administration on this server's data. */
    cli: (list, options = {}) => cli(list, { data: server.data, ...options }),
  }

  async function begin(listen) {
    const given = new Set(server.args)
    const defaults = DEFAULTS.filter(([name]) => !given.has(name)).flatMap(([name, value]) =>
      [name, name === '--listen' && listen ? listen : value])
    const line = [...wrap, program, ...(command ? [command] : []), '--data', server.data, ...defaults, ...server.args]
    const child = spawn(line[0], line.slice(1), { env: { ...environment, ...server.env }, stdio: ['ignore', 'pipe', 'pipe'] })
    children.add(child)
    server.exit = null
    server.pid = child.pid
    server.ended = new Promise((done, fail) => {
      child.on('error', fail)
      child.on('close', (code, signal) => {
        children.delete(child)
        server.exit = { code, signal }
        done(server.exit)
      })
    })
    const listening = new Promise((done, fail) => {
      for (const stream of [child.stdout, child.stderr]) {
        let rest = ''
        stream.setEncoding('utf8')
        stream.on('data', text => {
          const parts = (rest + text).split('\n')
          rest = parts.pop()
          for (const part of parts) {
            server.lines.push(part)
            if (stream === child.stderr) server.errors.push(part)
            const match = stream === child.stdout && /^listening on http:\/\/(\S+):(\d+)/.exec(part)
            if (match) done(match)
          }
        })
        stream.on('end', () => { if (rest) server.lines.push(rest) })
      }
      server.ended.then(({ code, signal }) => fail(Object.assign(
        new Error(`the server ended (${signal ?? code}) before it listened:\n${server.log()}`), { code, signal })), fail)
    })
    const [, host, port] = await within(10_000, `"listening on" from ${line.join(' ')}`, listening)
    server.host = host.replace(/^\[|\]$/g, '')
    server.port = Number(port)
    server.url = `http://${host}:${port}`
  }

  await begin()
  onFailure(`server on ${server.url}`, () => server.lines)
  atEnd('the server stops cleanly', async () => {
    if (server.exit === null) {
      const how = await server.stop()
      if (how !== 0 && !quietEnd) throw new Error(`the server ended with ${how}`)
    }
    const complaint = server.errors.find(line => /runtime error:|ERROR: \w+Sanitizer|assertion/i.test(line))
    if (complaint) throw new Error(complaint)
  })
  return server
}
