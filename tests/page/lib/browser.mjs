// A real Chromium for the tests of the page: one browser a file, one context (its own cookies and storage) a person.
// Everything that a page does wrong by itself is noted for every page and judged by `clean`: a script error, a breach of the
// Content-Security-Policy, a request to another origin. Owns the browser; it ends with the file.

import { createRequire } from 'node:module'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import assert from 'node:assert/strict'
import { PASSWORD } from '../../support/client.mjs'
import { root } from '../../support/server.mjs'
import { SLOW, atEnd, eventually, onFailure } from '../../support/suite.mjs'

const require = createRequire(join(root, 'build/npm/package.json'))
const { chromium } = require('playwright-core')
const axeSource = () => readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

const program = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(p => existsSync(p))
if (!program) throw new Error('there is no Chromium: apt-get install chromium, or name one in CHROMIUM')

/** How long a page may take over what a person waits for. */
export const PATIENCE = 10_000 * SLOW

// Every name leads to this machine: nothing else is ever asked, and a name of a LAN can be tried.
export const browser = await chromium.launch({ executablePath: program, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--host-resolver-rules=MAP * 127.0.0.1'] })
atEnd('the browser ends', () => browser.close())

const troubles = []
onFailure('what pages did wrong', () => troubles)

/** A context of its own and a page in it. `origin` is the one that its requests may go to. */
export async function visitor(server, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options })
  context.setDefaultTimeout(PATIENCE)
  context.on('page', page => watch(page, server))
  return context.newPage()
}

function watch(page, server) {
  const note = text => troubles.push(`${new URL(page.url(), server.url).pathname}: ${text}`)
  page.on('pageerror', error => note(`script error: ${error.stack ?? error}`))
  page.on('console', message => {
    const text = message.text()
    // A server that is away or says no to a call, or a header that plain http cannot honour, is not the page's fault;
    // everything else on the console is.
    if (/net::ERR_|Failed to load resource|WebSocket connection to|Cross-Origin-Opener-Policy/.test(text)) return
    if (message.type() === 'error' || /Content Security Policy/i.test(text)) note(`console: ${text}`)
  })
  page.on('request', request => {
    const url = new URL(request.url())
    if (url.origin !== new URL(server.url).origin && !['data:', 'blob:'].includes(url.protocol)) note(`a request to ${url.href}`)
  })
  page.on('websocket', socket => {
    if (new URL(socket.url()).host !== new URL(server.url).host) note(`a socket to ${socket.url()}`)
  })
}

/** No page of this file has done anything wrong by itself so far. */
export function clean() {
  assert.deepEqual(troubles, [])
}

/** A page with a new person on it, registered through the form and connected. */
export async function registered(server, name, options = {}) {
  const page = await visitor(server, options)
  await page.goto(`${server.url}/register`)
  await page.getByRole('textbox', { name: 'Username' }).fill(name)
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Create account' }).click()
  await connected(page)
  return page
}

/** A page on which somebody who has an account has logged in. */
export async function loggedIn(server, name, options = {}) {
  const page = await visitor(server, options)
  await page.goto(`${server.url}/login`)
  await page.getByRole('textbox', { name: 'Username' }).fill(name)
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await connected(page)
  return page
}

export const connected = page => page.getByRole('status').filter({ hasText: /^Connected$/ }).waitFor()
export const box = page => page.getByRole('textbox', { name: 'Message', exact: true })
export const log = page => page.getByRole('log', { name: 'Messages' })

/** The messages on the page that hold this text. */
export const message = (page, text) => log(page).getByRole('article').filter({ hasText: text })

/** Types a text and sends it with Enter. */
export async function say(page, text) {
  await box(page).fill(text)
  await box(page).press('Enter')
}

/** Waits until the message with this text has this tick: sending, sent, seen or failed. */
export const ticked = (page, text, tick) => message(page, text).getByLabel(tick, { exact: true }).waitFor()

/** The texts of all messages in the page, in their order, without names, times and ticks. */
export const texts = page => log(page).getByRole('article').evaluateAll(nodes => nodes.map(n => {
  const words = n.querySelector('.say') ?? n.querySelector('.txt')
  return words.innerText.trim()
}))

/** A count or a value on the page comes to be what it should. */
export const becomes = (what, fn, timeout = PATIENCE / SLOW) => eventually(what, fn, timeout)

/** What axe-core finds against WCAG and good practice in the page as it is now. */
export async function axe(page, what) {
  await page.evaluate(axeSource())
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }))
  assert.ok(found.passes.length > 10, 'axe has looked at something')
  assert.deepEqual(found.violations.map(v => `${what}: ${v.id}: ${v.nodes.map(n => n.html.slice(0, 200)).join(' | ')}`), [])
}

/** With SHOTS=DIR keeps a picture of the page, for people to look at. */
export async function shot(page, name) {
  if (!process.env.SHOTS) return
  mkdirSync(process.env.SHOTS, { recursive: true })
  await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) })
}
