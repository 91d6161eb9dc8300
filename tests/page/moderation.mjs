// Promise: a stop word is never sent, its author is warned n of m and keeps the text; the last warning blocks, the page says so
// and offers only to log out; an administrator's `user unblock` opens the account again. Moderators may delete what others wrote.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PASSWORD, call, registerAdmin } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { axe, box, clean, connected, message, registered, say, shot, ticked, visitor } from './lib/browser.mjs'

const words = join(temporary(), 'words')
writeFileSync(words, 'hate\nzounds\n')
const server = await startServer({ args: ['--stop-words', words] })
const root = await registerAdmin(server)
const alice = await registered(server, 'alice')
const bob = await registered(server, 'bob')

test('a stop word warns, is not sent, and the text is in the box again', async () => {
  await say(alice, 'I hate mondays')
  await alice.getByRole('alert').filter({ hasText: /warning 1 of 3/i }).waitFor()
  assert.equal(await box(alice).inputValue(), 'I hate mondays')
  assert.equal(await message(alice, 'I hate mondays').count(), 0)
  await shot(alice, 'warning')
  await axe(alice, 'warning')
  await say(alice, 'whatever, I like tuesdays')
  await message(bob, 'whatever, I like tuesdays').waitFor()
  assert.equal(await alice.getByRole('alert').count(), 0)
  assert.equal(await message(bob, 'mondays').count(), 0)
})

test('an edit with a stop word warns too and leaves the message as it was', async () => {
  await ticked(alice, 'whatever, I like tuesdays', 'seen')
  await box(alice).press('ArrowUp')
  await say(alice, 'zounds')
  await alice.getByRole('alert').filter({ hasText: /warning 2 of 3/i }).waitFor()
  assert.equal(await box(alice).inputValue(), 'zounds')
  await box(alice).press('Escape')
  await message(bob, 'whatever, I like tuesdays').waitFor()
})

test('a text that is refused later does not touch what is written since, here or in another room', async () => {
  const page = await registered(server, 'dora')
  await page.evaluate(async () => (await fetch('/api/rooms', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"name":"Shed"}' })).json())
  const go = async name => { await page.getByRole('link', { name }).click(); await page.getByRole('heading', { name }).waitFor() }
  const offline = async on => {
    await page.context().setOffline(on)
    if (on) await page.getByRole('status').filter({ hasText: /Offline|Reconnecting…/ }).waitFor()
    else await connected(page)
  }
  const alert = text => page.getByRole('alert').filter({ hasText: text }).waitFor()
  await say(page, 'fine')
  await ticked(page, 'fine', 'seen')
  // In another room, which has a draft of its own.
  await go('Shed')
  await offline(true)
  await say(page, 'hate 1')
  await box(page).fill('next in the shed')
  await go('Lobby')
  await box(page).fill('in the lobby')
  await offline(false)
  await alert(/warning 1 of 3.*in the box of Shed/i)
  assert.equal(await box(page).inputValue(), 'in the lobby')
  await go('Shed')
  assert.equal(await box(page).inputValue(), 'hate 1\nnext in the shed')
  await box(page).fill('')
  // Here, while a message is edited.
  await go('Lobby')
  await offline(true)
  await say(page, 'hate 2')
  await box(page).press('ArrowUp')
  await box(page).fill('finer')
  await offline(false)
  await alert(/warning 2 of 3.*when this edit is done/i)
  assert.equal(await box(page).inputValue(), 'finer')
  await box(page).press('Enter')
  await message(page, 'finer').filter({ hasText: 'edited' }).waitFor()
  assert.equal(await box(page).inputValue(), 'hate 2')
  await page.context().close()
}, { timeout: 30_000 })

test('the last warning blocks: the page says so and offers only to log out', async () => {
  await box(alice).fill('')
  await box(bob).pressSequentially('so')
  await alice.getByText('bob is typing…').waitFor()
  await say(alice, 'zounds again')
  await alice.getByRole('heading', { name: /blocked/i }).waitFor()
  assert.deepEqual(await alice.getByRole('button').allInnerTexts(), ['Log out'])
  assert.equal(await alice.getByRole('link').count() + await alice.getByRole('textbox').count(), 0)
  // And nothing else is left that a key or a look could bring about.
  await alice.evaluate(() => { document.activeElement.blur(); dispatchEvent(new Event('focus')) })
  await alice.keyboard.press('a')
  await alice.keyboard.press('Alt+n')
  assert.match(await alice.title(), /^Account blocked/)
  await shot(alice, 'blocked')
  await axe(alice, 'blocked')
  await alice.evaluate(() => new Promise(done => { setTimeout(done, 5000) })) // who was typing then is not any more
  await alice.reload()
  await alice.getByRole('heading', { name: /blocked/i }).waitFor()
  await alice.getByRole('button', { name: 'Log out' }).click()
  await alice.waitForURL('**/login')
})

test('the door says blocked too, and an unblocked account gets in', async () => {
  const page = await visitor(server)
  await page.goto(`${server.url}/login`)
  await page.getByRole('textbox', { name: 'Username' }).fill('alice')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').filter({ hasText: 'blocked' }).waitFor()
  const unblocked = await server.cli(['user', 'unblock', 'alice'])
  assert.equal(unblocked.code, 0, unblocked.stderr)
  await page.getByRole('button', { name: 'Log in' }).click()
  await connected(page)
  await say(page, 'back again')
  await message(bob, 'back again').waitFor()
  await page.context().close()
}, { timeout: 20_000 })

test('a moderator may delete what others wrote, others may not', async () => {
  const page = await visitor(server)
  await page.context().addCookies([{ name: 'chatterbox', value: root.token, url: server.url }])
  await page.goto(`${server.url}/`)
  await connected(page)
  await message(page, 'back again').hover()
  await message(page, 'back again').getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await message(bob, 'Message deleted').waitFor()
  assert.equal(await message(bob, 'back again').count(), 0)
  await say(bob, 'mine')
  await message(page, 'mine').waitFor()
  await message(bob, 'whatever').hover()
  assert.equal(await message(bob, 'whatever').getByRole('button', { name: 'Delete' }).count(), 0)
  assert.equal(await message(bob, 'whatever').getByRole('button', { name: 'Edit' }).count(), 0)
  await page.context().close()
}, { timeout: 20_000 })

test('the link of the first administrator carries its invitation through the form', async () => {
  const fresh = await startServer()
  const page = await visitor(fresh)
  await page.goto(`${fresh.url}/register#invite=${fresh.adminInvite()}`)
  await page.getByText('You come with an invitation').waitFor()
  await page.getByRole('textbox', { name: 'Username' }).fill('chief')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Create account' }).click()
  await connected(page)
  const token = (await page.context().cookies()).find(c => c.name === 'chatterbox').value
  assert.equal((await call(fresh, 'GET', '/api/me', { token })).user.role, 'admin')
  await page.context().close()
}, { timeout: 20_000 })

test('no page did anything wrong by itself', clean)
