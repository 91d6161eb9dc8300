// Promise: no word is lost and the state is always told. What is typed while the server is away waits, survives a reload and
// goes out once and in order; tabs of one person stay in step; a session that is ended elsewhere leads to the door.

import assert from 'node:assert/strict'
import { PASSWORD, call, http, login, online, register, wholeRoom } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { PATIENCE, becomes, box, clean, connected, log, loggedIn, message, registered, say, shot, texts, ticked } from './lib/browser.mjs'

const server = await startServer()
const alice = await registered(server, 'alice')
const bob = await registered(server, 'bob')
const carol = await register(server, 'carol')
const stored = async () => (await wholeRoom(server, carol.token)).map(m => m.text)
const ready = page => connected(page)

test('while the server is away the page says so, counts down and keeps what is typed', async () => {
  await say(alice, 'before')
  await message(bob, 'before').waitFor()
  const people = alice.getByRole('complementary', { name: 'People' })
  await people.getByText('Online 2').waitFor() // presence is gathered for a second
  await server.stop()
  await alice.getByRole('status').filter({ hasText: /Reconnecting…|Offline/ }).waitFor()
  await alice.getByText(/Next try in \d+ s|Trying…/).waitFor()
  await say(alice, 'typed offline 1')
  await say(alice, 'typed offline 2')
  await ticked(alice, 'typed offline 1', 'sending')
  await ticked(alice, 'typed offline 2', 'sending')
  await alice.getByRole('button', { name: 'Account' }).click()
  await alice.getByRole('menuitem', { name: 'Log out' }).click()
  await alice.getByRole('dialog').getByText('2 messages have not been sent yet').waitFor()
  await alice.getByRole('dialog').getByRole('button', { name: 'Log out' }).click()
  await alice.getByRole('alert').filter({ hasText: 'You are still logged in' }).waitFor()
  // Who is there now is not known: no lit lamp, and the heading says that it was so.
  await people.getByText('Last seen online 2').waitFor()
  await people.getByRole('button', { name: /bob.*\(was online\)/ }).waitFor()
  assert.equal(await people.locator('.lamp.on').count(), 0)
  await shot(alice, 'offline')
}, { timeout: 20_000 })

test('before the first connection nothing typed is lost, and what needs one says so', async () => {
  const full = await startServer({ args: ['--max-sockets', '1'] })
  const bot = await register(full, 'bot')
  const page = await registered(full, 'dora')
  await box(page).fill('kept from before')
  await page.goto(`${full.url}/healthz`)
  let socket
  await becomes('there is room for one', async () => { socket = await online(full, bot).catch(() => null); return socket })
  await page.goto(`${full.url}/`)
  await page.getByRole('status').filter({ hasText: 'Reconnecting…' }).waitFor()
  await box(page).pressSequentially('typed while it is full')
  for (const name of ['About this room', 'New room']) {
    await page.getByRole('button', { name }).click()
    await page.getByRole('alert').filter({ hasText: 'There is no connection yet' }).waitFor()
    await page.getByRole('button', { name: 'Dismiss' }).click()
  }
  await page.getByRole('button', { name: 'Account' }).click()
  await page.getByRole('menuitem', { name: 'Settings' }).click()
  await page.getByRole('alert').filter({ hasText: 'There is no connection yet' }).waitFor()
  await page.reload()
  await becomes('it is there after a reload', async () => await box(page).inputValue() === 'typed while it is full')
  // On a slow line one types before the scripts are there: that does not take the place of it.
  let arrive
  const slow = new Promise(done => { arrive = done })
  await page.route('**/chat.js', async route => { await slow; await route.continue() })
  await page.reload({ waitUntil: 'commit' })
  await box(page).pressSequentially('and early')
  assert.equal(await box(page).inputValue(), 'and early')
  arrive()
  await becomes('both are there', async () => await box(page).inputValue() === 'typed while it is full\nand early')
  await page.unroute('**/chat.js')
  socket.close()
  await connected(page)
  await becomes('and so is the draft', async () => await box(page).inputValue() === 'kept from before\ntyped while it is full\nand early')
  await page.reload()
  await connected(page)
  await becomes('both stay', async () => await box(page).inputValue() === 'kept from before\ntyped while it is full\nand early')
  await page.context().close()
}, { timeout: 40_000 })

test('after the restart it goes out by itself, once and in order', async () => {
  await server.restart()
  await alice.getByRole('button', { name: 'Retry now' }).click({ timeout: 1000 }).catch(() => { /* it was faster */ })
  await ready(alice)
  await alice.getByRole('complementary', { name: 'People' }).getByText(/^Online \d/).waitFor()
  await alice.getByRole('alert').waitFor({ state: 'detached' })      // what it said of the connection is over
  await ticked(alice, 'typed offline 2', 'sent').catch(() => ticked(alice, 'typed offline 2', 'seen'))
  await ready(bob)
  await message(bob, 'typed offline 2').waitFor()
  const want = ['before', 'typed offline 1', 'typed offline 2']
  assert.deepEqual(await stored(), want)
  assert.deepEqual(await texts(bob), want)
  assert.deepEqual(await texts(alice), want)
}, { timeout: 40_000 })

test('it comes back without a click', async () => {
  await server.stop()
  await alice.getByRole('status').filter({ hasText: /Reconnecting…|Offline/ }).waitFor()
  await server.restart()
  await Promise.all([ready(alice), ready(bob)])
}, { timeout: 40_000 })

test('what waits survives a reload and a crash of the server', async () => {
  await server.kill9()
  await say(alice, 'through a reload')
  await ticked(alice, 'through a reload', 'sending')
  for (const text of ['a second one', 'and a third']) await say(alice, text)
  const seqs = await alice.evaluate(() => Object.keys(localStorage).filter(k => k.startsWith('cb.out.')).sort().map(k => JSON.parse(localStorage[k]).seq))
  assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b), 'a later nonce is behind an earlier one')
  assert.equal(seqs.length, 3)
  await box(alice).fill('and a draft')
  await box(alice).blur()
  await server.restart()
  await alice.reload()
  await ready(alice)
  await message(bob, 'through a reload').waitFor()
  await becomes('stored once', async () => (await stored()).filter(t => t === 'through a reload').length === 1)
  await message(bob, 'and a third').waitFor()
  assert.equal(await box(alice).inputValue(), 'and a draft')
  await box(alice).fill('')
  await ready(bob)
}, { timeout: 40_000 })

test('a page that was asleep gets what it missed, in its place', async () => {
  await bob.context().setOffline(true)
  await bob.getByRole('status').filter({ hasText: /Offline|Reconnecting…/ }).waitFor()
  for (let i = 0; i < 5; i++) await say(alice, `missed ${i}`)
  await ticked(alice, 'missed 4', 'sent')
  await say(bob, 'from under the stone')
  await ticked(bob, 'from under the stone', 'sending')
  await bob.context().setOffline(false)
  await ready(bob)
  await message(alice, 'from under the stone').waitFor()
  await becomes('both have the same', async () => JSON.stringify(await texts(alice)) === JSON.stringify(await texts(bob)))
  assert.deepEqual((await texts(bob)).slice(-6), ['missed 0', 'missed 1', 'missed 2', 'missed 3', 'missed 4', 'from under the stone'])
}, { timeout: 40_000 })

test('a message is shown once though another tab tells later that it was on its way', async () => {
  const second = await alice.context().newPage()
  await second.goto(`${server.url}/`)
  await ready(second)
  await second.evaluate(() => {
    const set = Storage.prototype.setItem
    Storage.prototype.setItem = function (key, value) {
      if (key.startsWith('cb.out.')) window.kept = [key, value]
      return set.call(this, key, value)
    }
  })
  await say(second, 'heard of twice')
  await message(alice, 'heard of twice').first().waitFor()
  await ticked(second, 'heard of twice', 'seen')
  await alice.evaluate(() => { window.heard = new Promise(done => addEventListener('storage', e => { if (e.newValue) done() })) })
  await second.evaluate(() => localStorage.setItem(...window.kept))
  await alice.evaluate(() => window.heard)
  await alice.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))
  assert.equal(await message(alice, 'heard of twice').count(), 1)
  await second.evaluate(() => localStorage.removeItem(window.kept[0]))
  await second.close()
}, { timeout: 30_000 })

test('two tabs of one person stay in step, and neither throws the other out', async () => {
  const second = await alice.context().newPage()
  await second.goto(`${server.url}/`)
  await ready(second)
  await say(second, 'from the second tab')
  await message(alice, 'from the second tab').waitFor()
  await say(alice, 'from the first tab')
  await message(second, 'from the first tab').waitFor()
  await connected(alice)
  await becomes('the same lists', async () => JSON.stringify(await texts(alice)) === JSON.stringify(await texts(second)))
  await ticked(second, 'from the second tab', 'seen')
  await ticked(alice, 'from the second tab', 'seen')
}, { timeout: 30_000 })

test('what two tabs have typed offline arrives once each; what a closed tab left behind is taken over', async () => {
  const [first, second] = alice.context().pages()
  const third = await alice.context().newPage()
  await third.goto(`${server.url}/`)
  await ready(third)
  await server.stop()
  for (const page of [first, second, third]) await page.getByRole('status').filter({ hasText: /Reconnecting…|Offline/ }).waitFor()
  await say(first, 'tab one')
  await say(second, 'tab two')
  await say(third, 'tab three')
  await message(first, 'tab three').waitFor()
  await third.close()
  await server.restart()
  await Promise.all([ready(first), ready(second), ready(bob)])
  for (const text of ['tab one', 'tab two', 'tab three']) await message(bob, text).waitFor()
  await first.waitForTimeout(1500)
  const all = await stored()
  for (const text of ['tab one', 'tab two', 'tab three']) assert.equal(all.filter(t => t === text).length, 1, text)
  await becomes('nothing waits any more', async () => await first.evaluate(() => Object.keys(localStorage).filter(k => k.startsWith('cb.out.')).length) === 0)
  await second.close()
}, { timeout: 60_000 })

test('more than a page of missed messages: the newest are there and the older ones load', async () => {
  await server.stop()
  await server.restart()
  await ready(bob)
  await bob.context().setOffline(true)
  await bob.getByRole('status').filter({ hasText: /Offline|Reconnecting…/ }).waitFor()
  const socket = await online(server, carol)
  for (let i = 0; i < 1100; i++) socket.send({ type: 'message', room: 1, text: `flood ${i}`, nonce: `f${i}` })
  await socket.until(f => f.type === 'message' && f.text === 'flood 1099')
  await bob.context().setOffline(false)
  await ready(bob)
  await message(bob, 'flood 1099').first().waitFor()
  await bob.getByRole('button', { name: 'Jump to first unread' }).click()
  await message(bob, /flood 0\b/).first().waitFor()
  await log(bob).getByRole('separator', { name: 'New' }).waitFor()
}, { timeout: 60_000 })

test('a failed message says why and offers to retry or to remove it', async () => {
  await ready(alice)
  await alice.evaluate(() => {
    // The composer would not let it out: an entry as an older page, with a larger limit, may have left it.
    localStorage.setItem('cb.out.alice.lost', JSON.stringify({ nonce: 'lost', room: 1, text: 'x'.repeat(5000), time: Date.now(), seq: 1, tab: 'gone' }))
  })
  await alice.reload()
  await ready(alice)
  const lost = message(alice, 'xxxxx')
  await lost.getByLabel('failed').waitFor()
  await lost.getByText('too long').waitFor()
  await lost.getByRole('button', { name: 'Retry' }).click()
  await lost.getByText('too long').waitFor()
  await lost.getByRole('button', { name: 'Remove' }).click()
  await lost.waitFor({ state: 'detached' })
}, { timeout: 20_000 })

test('who writes faster than the server lets waits, and loses nothing', async () => {
  const slow = await startServer({ args: ['--message-rate', '2/2'] })
  const page = await registered(slow, 'hasty')
  const want = Array.from({ length: 8 }, (_, i) => `hasty ${i}`)
  for (const text of want) await say(page, text)
  await ticked(page, 'hasty 7', 'sent')
  assert.deepEqual(await texts(page), want)
  assert.equal(await log(page).getByLabel('failed').count(), 0)
  await page.reload()
  await connected(page)
  await message(page, 'hasty 7').waitFor()
  assert.deepEqual(await texts(page), want)
  await page.context().close()
}, { timeout: 30_000 })

test('a full disk fails a message in words; a retry sends it once there is room', async () => {
  const full = await startServer({ quietEnd: true })
  const page = await registered(full, 'filler')
  await say(page, 'while there is room')
  await ticked(page, 'while there is room', 'sent')
  await page.evaluate(() => {
    // The server's own refusal, word for word, in the place of its answer: no disk is filled for this.
    const real = WebSocket.prototype.send
    WebSocket.prototype.send = function (data) {
      const f = JSON.parse(data)
      if (f.type !== 'message') return real.call(this, data)
      setTimeout(() => this.onmessage({ data: JSON.stringify({ type: 'error', code: 'storage_full', message: 'full', nonce: f.nonce }) }))
    }
    globalThis.room = () => { WebSocket.prototype.send = real }
  })
  await say(page, 'one too many')
  await ticked(page, 'one too many', 'failed')
  await message(page, 'one too many').getByText('server disk full').waitFor()
  await shot(page, 'failed')
  await page.evaluate(() => globalThis.room())
  await message(page, 'one too many').getByRole('button', { name: 'Retry' }).click()
  await ticked(page, 'one too many', 'sent')
  await page.context().close()
}, { timeout: 30_000 })

test('a session that is ended elsewhere leads to the door at once', async () => {
  const other = await login(server, 'alice', PASSWORD)
  const { sessions } = await call(server, 'GET', '/api/me/sessions', { token: other.token })
  for (const s of sessions.filter(s => !s.current)) await call(server, 'DELETE', `/api/me/sessions/${s.id}`, { token: other.token })
  await alice.waitForURL('**/login', { timeout: PATIENCE })
  await alice.getByText('You were logged out here').waitFor()
  await shot(alice, 'ended')
  await alice.reload()
  await alice.getByRole('button', { name: 'Log in' }).waitFor()
  assert.equal(await alice.getByText('You were logged out here').isVisible(), false, 'it is said once')
}, { timeout: 20_000 })

test('ending other sessions keeps the focus in the dialog', async () => {
  const page = await loggedIn(server, 'alice')
  for (let i = 0; i < 2; i++) await login(server, 'alice', PASSWORD)
  await page.getByRole('button', { name: 'Account' }).click()
  await page.getByRole('menuitem', { name: 'Settings' }).click()
  const dialog = page.getByRole('dialog', { name: 'Settings' })
  await dialog.getByText('this session').waitFor()
  const end = dialog.getByRole('button', { name: /^End session/ })
  for (let n = await end.count(); n > 0; n--) {
    await end.first().click()
    await becomes('it is gone', async () => await end.count() === n - 1)
    assert.equal(await dialog.evaluate((d, last) => d.contains(document.activeElement) && document.activeElement.tagName === (last ? 'H3' : 'BUTTON'), n === 1), true)
  }
  await page.context().close()
}, { timeout: 30_000 })

test('what was typed before anybody knew whose it is does not wait for the next person', async () => {
  const page = await registered(server, 'dora')
  await page.evaluate(() => sessionStorage.setItem('cb.early', 'a word of hers'))
  await page.context().clearCookies()
  await page.goto(`${server.url}/`)
  await page.waitForURL('**/login')
  await page.getByLabel('Username').fill('bob')
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await ready(page)
  assert.equal(await box(page).inputValue(), '')
  await page.context().close()
}, { timeout: 20_000 })

test('a session that ended while the page was away leads to the door too', async () => {
  const page = await loggedIn(server, 'alice')
  await page.context().setOffline(true)
  await page.getByRole('status').filter({ hasText: /Offline|Reconnecting…/ }).waitFor()
  const token = (await page.context().cookies()).find(c => c.name === 'chatterbox').value
  assert.equal((await http(server, 'POST', '/api/logout', { token })).status, 204)
  await page.context().setOffline(false)
  await page.waitForURL('**/login', { timeout: PATIENCE })
  await page.context().close()
}, { timeout: 30_000 })

test('no page did anything wrong by itself', clean)
