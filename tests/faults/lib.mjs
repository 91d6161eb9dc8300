// A server in which what is asked for fails (build/tests/chatterbox-faults), and what every run of it must leave behind. Used by
// the tests of this folder; owns the processes that it starts and the directories that it makes.

import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import assert from 'node:assert/strict'
import { binary, runProgram } from '../support/server.mjs'
import { SLOW, within } from '../support/suite.mjs'

export const faulty = join(dirname(binary), 'tests/chatterbox-faults')
export const storeTool = join(dirname(binary), 'tests/store-tool')

const children = new Set()
const directories = new Set()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  for (const dir of directories) rmSync(dir, { recursive: true, force: true })
})

export function directory() {
  const dir = mkdtempSync(join(tmpdir(), 'chatterbox-fault-'))
  directories.add(dir)
  return dir
}
export function forget(dir) {
  rmSync(dir, { recursive: true, force: true })
  directories.delete(dir)
}

/**
 * Starts the faulty server on `data`. Resolves when it listens or has ended: `{port, exit, errors, lines}`; `ended` is a promise.
 * `fault` such as `sync:7` (see inject.cpp).
 */
export async function begin(data, { fault, env = {}, args = [] } = {}) {
  if (!existsSync(faulty)) throw new Error(`there is no ${faulty}: run make fault-programs`)
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(CHATTERBOX_|FAULT)/.test(name)))
  const child = spawn(faulty, ['serve', '--listen', '127.0.0.1:0', '--data', data, '--password-memory', '8', '--password-ops', '1', '--login-rate', 'off',
    '--message-rate', 'off', '--request-rate', 'off', '--deflate', 'on', ...args], {
    env: { ...clean, FAULT_COUNT: '1', ...(process.env.FAULT_CODE ? { FAULT_CODE: process.env.FAULT_CODE } : {}), ...(fault ? { FAULT: fault } : {}), ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  const server = {
    host: '127.0.0.1', port: 0, data, pid: child.pid, exit: null, lines: [], text: '',
    /** Was the fault met? */
    get hit() { return /^fault: (?!seen)/m.test(server.text) },
    get seen() { return Object.fromEntries([...(/^fault: seen(.*)$/m.exec(server.text)?.[1] ?? '').matchAll(/(\w+) (\d+)/g)].map(m => [m[1], Number(m[2])])) },
    async stop() {
      if (server.exit === null) child.kill('SIGTERM')
      return within(8000, 'the end of the faulty server', server.ended)
    },
    kill() { child.kill('SIGKILL'); return server.ended },
  }
  server.ended = new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code, signal) => {
      children.delete(child)
      server.exit = { code, signal }
      done(server.exit)
    })
  })
  const listening = new Promise(done => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8')
      stream.on('data', text => {
        server.text += text
        const match = /^listening on http:\/\/(\S+):(\d+)$/m.exec(server.text)
        if (match) { server.port = Number(match[2]); done() }
      })
    }
  })
  await within(10_000, 'the faulty server to listen or to end', Promise.race([listening, server.ended]))
  return server
}

/** What holds of the database whatever happened: sound, all of `told` there (`a|b`: a or b), each once, and nothing that was never sent. */
export async function soundAfter(data, told, sent) {
  const check = await runProgram(binary, ['check', '--data', data], { timeout: 20_000 * SLOW })
  assert.equal(check.code, 0, `the database is not sound: ${check.stdout}${check.stderr}`)
  const { stdout } = await runProgram(storeTool, ['texts', data])
  const texts = stdout.split('\n').filter(Boolean)
  assert.equal(new Set(texts).size, texts.length, `something is there twice: ${stdout}`)
  for (const text of told) assert.ok(text.split('|').some(one => texts.includes(one)), `acknowledged and lost: ${text}; there are ${stdout}`)
  for (const text of texts) assert.ok(sent.has(text), `never sent: ${text}`)
}
