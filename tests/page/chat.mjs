// Promise: the main job in a real browser. Two people register, find each other, write, see the ticks move, see who types,
// edit, answer and delete; a reload keeps everything; logging out ends it.

import assert from 'node:assert/strict'
import { PASSWORD, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { axe, becomes, box, clean, connected, log, message, registered, say, shot, texts, ticked, visitor } from './lib/browser.mjs'

const server = await startServer()
let alice, bob

test('without a session the chat sends one to the door', async () => {
  const page = await visitor(server)
  await page.goto(`${server.url}/`)
  assert.equal(new URL(page.url()).pathname, '/login')
  await page.getByText('Forgotten your password?').click()
  await page.getByText('Ask the administrator').waitFor()
  await page.getByRole('link', { name: 'Create account' }).click()
  assert.equal(new URL(page.url()).pathname, '/register')
  await page.getByRole('link', { name: 'Log in' }).click()
  assert.equal(new URL(page.url()).pathname, '/login')
  await page.context().close()
}, { timeout: 30_000 })

test('registering logs in at once, and the first day says how others come', async () => {
  alice = await registered(server, 'alice')
  assert.equal(new URL(alice.url()).pathname, '/')
  await alice.getByRole('heading', { name: 'It is quiet in here' }).waitFor()
  await alice.getByText(server.url, { exact: true }).waitFor()
  await alice.getByRole('navigation', { name: 'Rooms' }).getByRole('link', { name: 'Lobby' }).waitFor()
  await alice.getByText(`--listen 0.0.0.0:${server.port}`).waitFor()
  // Whatever the server has told by then: one is there oneself.
  await alice.getByRole('complementary', { name: 'People' }).getByText('Online 1').waitFor()
  assert.equal(await alice.getByRole('complementary', { name: 'People' }).getByText('Offline').count(), 0)
  await shot(alice, 'first-day')
}, { timeout: 30_000 })

test('a taken name and a short password are said in an alert, the input stays', async () => {
  const page = await visitor(server)
  await page.goto(`${server.url}/register`)
  await page.getByRole('textbox', { name: 'Username' }).fill('alice')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.getByRole('alert').filter({ hasText: 'taken' }).waitFor()
  assert.equal(await page.getByRole('textbox', { name: 'Username' }).inputValue(), 'alice')
  await page.getByRole('textbox', { name: 'Username' }).fill('somebody')
  await page.getByLabel('Password').fill('short')
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.getByRole('alert').filter({ hasText: '8 characters or more' }).waitFor()
  assert.equal(await page.getByRole('alert').count(), 1)
  assert.deepEqual(await focused(page), ['password', 'true'])
  await shot(page, 'short-password')
  await page.getByRole('textbox', { name: 'Username' }).fill('  ')
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.getByRole('alert').filter({ hasText: 'username' }).waitFor()
  assert.deepEqual(await focused(page), ['username', 'true'])
  await page.goto(`${server.url}/login`)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').filter({ hasText: 'Enter your username' }).waitFor()
  await page.getByRole('textbox', { name: 'Username' }).fill('alice')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').filter({ hasText: 'Enter your password' }).waitFor()
  await page.getByLabel('Password').fill('not the password')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').filter({ hasText: 'do not match' }).waitFor()
  assert.equal(await page.getByRole('textbox', { name: 'Username' }).inputValue(), 'alice')
  await page.context().close()
}, { timeout: 30_000 })

const focused = page => page.evaluate(() => [document.activeElement.name, document.activeElement.getAttribute('aria-invalid')])

test('too many tries are told with how long to wait', async () => {
  const strict = await startServer({ args: ['--login-rate', '2'] })
  const page = await visitor(strict)
  await page.goto(`${strict.url}/login`)
  await page.getByRole('textbox', { name: 'Username' }).fill('nobody')
  for (let i = 0; i < 3; i++) {
    await page.getByLabel('Password').fill(`wrong password ${i}`)
    const answered = page.waitForResponse('**/api/login')
    await page.getByRole('button', { name: 'Log in' }).click()
    await answered
  }
  await page.getByRole('alert').filter({ hasText: /Wait \d+ seconds? and try again/ }).waitFor()
  await page.context().close()
}, { timeout: 30_000 })

test('a second person shows among the people at once', async () => {
  bob = await registered(server, 'bob')
  const people = alice.getByRole('complementary', { name: 'People' })
  await people.getByRole('button', { name: /bob.*\(online\)/ }).waitFor()
  await people.getByText('Online 2').waitFor()
}, { timeout: 30_000 })

test('what an empty room offers keeps the focus while people come and change', async () => {
  const copy = alice.getByRole('button', { name: 'Copy address' })
  await copy.focus()
  for (const status of ['here', 'there', '']) {
    await bob.evaluate(s => fetch('/api/me', { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ status: s }) }), status)
    await alice.getByRole('button', { name: new RegExp(status ? `@bob · ${status}$` : '@bob$') }).waitFor()
  }
  assert.equal(await copy.evaluate(n => n === document.activeElement), true)
})

test('a message shows in both browsers, with sender, time and tick; the tick moves to seen', async () => {
  await say(alice, 'Hello **bob**, see https://example.org/a_b?c=1. And `code`.')
  const there = message(bob, 'Hello bob')
  await there.waitFor()
  assert.match(await there.innerText(), /alice[\s\S]*\d\d:\d\d/)
  assert.equal(await there.locator('strong').innerText(), 'bob')
  assert.equal(await there.locator('code').innerText(), 'code')
  const link = there.getByRole('link')
  assert.equal(await link.getAttribute('href'), 'https://example.org/a_b?c=1')
  assert.match(await link.getAttribute('rel'), /noopener noreferrer/)
  await ticked(alice, 'Hello bob', 'seen')
  assert.match(await message(alice, 'Hello bob').innerText(), /alice[\s\S]*\d\d:\d\d[\s\S]*✓✓/)
  await log(alice).getByRole('separator', { name: 'Today' }).waitFor()
})

test('a click on one’s own message tells who has seen it', async () => {
  await message(alice, 'Hello bob').getByText('Hello').click({ position: { x: 8, y: 8 } })
  await message(alice, 'Hello bob').getByText('Seen by 1 of 1').waitFor()
  await axe(alice, 'seen by whom')
  await message(alice, 'Hello bob').getByText('Hello').click({ position: { x: 8, y: 8 } })
})

test('a page that is not in view does not say seen', async () => {
  await bob.evaluate(() => {
    globalThis.hasFocus = document.hasFocus
    document.hasFocus = () => false
  })
  await say(alice, 'are you looking')
  await message(bob, 'are you looking').waitFor()
  await ticked(alice, 'are you looking', 'sent')
  await alice.waitForTimeout(1500)
  assert.equal(await message(alice, 'are you looking').getByLabel('seen', { exact: true }).count(), 0)
  assert.match(await bob.title(), /^\(1\) /)
  await log(bob).getByRole('separator', { name: 'New' }).waitFor()
  await bob.evaluate(() => {
    document.hasFocus = globalThis.hasFocus
    dispatchEvent(new Event('focus'))
  })
  await ticked(alice, 'are you looking', 'seen')
  await becomes('the title has no count', async () => /^Lobby/.test(await bob.title()))
}, { timeout: 20_000 })

test('typing shows to the other and ends with the message', async () => {
  await box(bob).pressSequentially('hi', { delay: 20 })
  const status = alice.getByRole('status').filter({ hasText: 'bob is typing…' })
  await status.waitFor()
  await box(bob).press('Enter')
  await message(alice, 'hi').first().waitFor()
  await status.waitFor({ state: 'detached' })
})

test('messages of one sender in a row make one group', async () => {
  await say(bob, 'one more')
  await message(alice, 'one more').waitFor()
  assert.equal(await message(alice, 'one more').evaluate(n => n.classList.contains('first')), false)
  assert.match(await message(alice, 'one more').innerText(), /bob/)
})

test('Shift+Enter breaks the line, Enter sends; a mention stands out', async () => {
  await box(bob).fill('@alice first')
  await box(bob).press('Shift+Enter')
  await box(bob).pressSequentially('second')
  await bob.getByRole('button', { name: 'Send' }).click()
  const there = message(alice, 'second')
  await there.waitFor()
  assert.equal(await there.evaluate(n => n.classList.contains('hot')), true)
  assert.equal(await there.locator('.at.you').innerText(), '@alice')
  assert.equal(await there.locator('br').count(), 1)
})

test('@ completes names, : completes emoji, and Enter takes the choice', async () => {
  await box(alice).pressSequentially('to @b')
  await alice.getByRole('option', { name: /bob/ }).waitFor()
  await box(alice).press('Enter')
  assert.equal(await box(alice).inputValue(), 'to @bob ')
  await box(alice).pressSequentially(':tada')
  await alice.getByRole('option', { name: /party popper/ }).waitFor()
  await box(alice).press('Tab')
  await box(alice).press('Enter')
  await message(bob, 'to @bob 🎉').waitFor()
})

test('the completion ends when the cursor goes elsewhere, and a name that is typed in full comes first', async () => {
  await register(server, 'alic')          // who is not there: people who are stand before
  await box(bob).pressSequentially('to @al')
  await bob.getByRole('option', { name: /alice/ }).waitFor()
  await box(bob).press('Home')
  assert.equal(await bob.getByRole('listbox').count(), 0)
  await box(bob).press('Enter')
  await message(alice, 'to @al').waitFor()
  await box(bob).pressSequentially('@al')
  await bob.getByRole('option', { name: /alice/ }).waitFor()
  await box(bob).click()
  assert.equal(await bob.getByRole('listbox').count(), 0)
  await box(bob).pressSequentially('ic')
  await bob.getByRole('option', { name: /alice/ }).waitFor()
  await box(bob).press('Enter')
  assert.equal(await box(bob).inputValue(), '@alic ')
  await box(bob).fill('')
  await server.cli(['user', 'delete', 'alic'])
})

test('the emoji panel puts the choice in at the cursor', async () => {
  await box(alice).fill('ab')
  await box(alice).press('ArrowLeft')
  await alice.getByRole('button', { name: 'Emoji', exact: true }).click()
  const panel = alice.getByRole('dialog', { name: 'Emoji' })
  await panel.getByRole('searchbox').fill('thumbs')
  await panel.getByRole('button', { name: 'thumbs up' }).click()
  assert.equal(await box(alice).inputValue(), 'a👍b')
  await box(alice).press('Enter')
  await message(bob, 'a👍b').waitFor()
})

test('arrow up edits one’s last message, for everybody', async () => {
  await say(alice, 'a mistaek')
  await ticked(alice, 'a mistaek', 'seen')
  await box(alice).press('ArrowUp')
  assert.equal(await box(alice).inputValue(), 'a mistaek')
  await say(alice, 'a mistake')
  await message(bob, 'a mistake').filter({ hasText: 'edited' }).waitFor()
  await message(alice, 'a mistake').filter({ hasText: 'edited' }).waitFor()
  assert.equal(await message(bob, 'a mistaek').count(), 0)
  assert.equal(await box(alice).inputValue(), '')
})

test('a reply shows what it answers and leads to it', async () => {
  await message(bob, 'a mistake').hover()
  await message(bob, 'a mistake').getByRole('button', { name: 'Reply' }).click()
  await say(bob, 'it happens')
  const quote = message(alice, 'it happens').getByRole('link', { name: /In reply to.*alice.*a mistake/ })
  await quote.waitFor()
  await quote.click()
  assert.match(await alice.evaluate(() => document.activeElement.innerText), /a mistake/)
})

test('deleting asks first, and leaves a trace without the words', async () => {
  await say(alice, 'to be taken back')
  await message(bob, 'to be taken back').waitFor()
  await message(alice, 'to be taken back').hover()
  await message(alice, 'to be taken back').getByRole('button', { name: 'Delete' }).click()
  await alice.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await message(alice, 'to be taken back').hover()
  await message(alice, 'to be taken back').getByRole('button', { name: 'Delete' }).click()
  await alice.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await message(bob, 'Message deleted').waitFor()
  assert.equal(await message(bob, 'to be taken back').count(), 0)
  await message(bob, 'one more').hover()
  assert.equal(await message(bob, 'a mistake').getByRole('button', { name: 'Edit' }).count(), 0)
})

test('a reload keeps everything, the draft too', async () => {
  const before = await texts(alice)
  await box(alice).fill('half a thou')
  await alice.reload()
  await connected(alice)
  await becomes('the same messages', async () => JSON.stringify(await texts(alice)) === JSON.stringify(before))
  assert.equal(await box(alice).inputValue(), 'half a thou')
  // A browser that comes back to a page fills its fields again by itself: the draft is not added to what it has put there.
  await alice.goto(`${server.url}/healthz`)
  await alice.goBack()
  await connected(alice)
  assert.equal(await box(alice).inputValue(), 'half a thou')
  await box(alice).fill('')
})

test('who has seen it: of as many as the people list shows; Esc and a click elsewhere close it', async () => {
  const carol = await registered(server, 'carol2')
  const dan = await registered(server, 'carol10')
  await alice.getByRole('complementary', { name: 'People' }).getByText('Online 4').waitFor()
  const names = await alice.locator('.people [data-name]').evaluateAll(nodes => nodes.map(n => n.dataset.name))
  assert.deepEqual(names, ['alice', 'bob', 'carol2', 'carol10'])
  await dan.context().close()
  await say(alice, 'who reads this')
  await ticked(alice, 'who reads this', 'seen')
  await say(alice, 'and this')
  await ticked(alice, 'and this', 'seen')
  const card = alice.getByText(/^Seen by \d of 3$/)
  await message(alice, 'who reads this').locator('.say').click()
  await card.waitFor()
  await shot(alice, 'seen-by')
  await alice.keyboard.press('Escape')
  await card.waitFor({ state: 'detached' })
  await message(alice, 'who reads this').locator('.say').click()
  await card.waitFor()
  await message(alice, 'and this').locator('.say').click()
  await message(alice, 'and this').getByText(/^Seen by/).waitFor()
  assert.equal(await alice.locator('.seen').count(), 1)
  await box(alice).click()
  await card.waitFor({ state: 'detached' })
  await carol.context().close()
}, { timeout: 30_000 })

test('a reader whose name is a word of the language counts like any other', async () => {
  const odd = await registered(server, 'constructor')
  await say(alice, 'read by all')
  await ticked(alice, 'read by all', 'seen')
  await message(alice, 'read by all').locator('.say').click()
  await alice.locator('.seen').getByText('constructor').waitFor()
  await alice.keyboard.press('Escape')
  await odd.context().close()
})

test('a text that is too long is refused in words, which go as soon as it fits', async () => {
  await box(alice).fill('x'.repeat(4010))
  await box(alice).press('Enter')
  await alice.getByRole('alert').filter({ hasText: 'too long by 10 characters' }).waitFor()
  await box(alice).fill('x'.repeat(4001))
  assert.equal(await alice.getByRole('alert').count(), 1)
  await box(alice).fill('x'.repeat(4000))
  await alice.getByRole('alert').waitFor({ state: 'detached' })
  await box(alice).fill('')
})

test('the password changes; what is amiss is said in the dialog', async () => {
  const page = await registered(server, 'changer')
  await page.getByRole('button', { name: 'Account' }).click()
  await page.getByRole('menuitem', { name: 'Settings' }).click()
  const dialog = page.getByRole('dialog', { name: 'Settings' })
  assert.equal(await dialog.getAttribute('aria-modal'), 'true')
  await dialog.getByRole('button', { name: 'Change password' }).click()
  await dialog.getByRole('alert').filter({ hasText: 'present password' }).waitFor()
  await dialog.getByLabel('Present password').fill('not the password')
  await dialog.getByLabel('New password').fill('short')
  await dialog.getByRole('button', { name: 'Change password' }).click()
  await dialog.getByRole('alert').filter({ hasText: '8 characters or more' }).waitFor()
  await dialog.getByLabel('New password').fill('another long password')
  await dialog.getByRole('button', { name: 'Change password' }).click()
  await dialog.getByRole('alert').filter({ hasText: 'not right' }).waitFor()
  await dialog.getByLabel('Present password').fill(PASSWORD)
  await dialog.getByRole('button', { name: 'Change password' }).click()
  await dialog.getByText('The password is changed').waitFor()
  assert.equal(await dialog.getByRole('alert').count(), 0)
  await page.context().close()
}, { timeout: 30_000 })

test('a new display name shows everywhere; the theme is kept', async () => {
  await alice.getByRole('button', { name: 'Account' }).click()
  await alice.getByRole('menuitem', { name: 'Settings' }).click()
  const dialog = alice.getByRole('dialog', { name: 'Settings' })
  await dialog.getByLabel('Display name').fill('Alice Liddell')
  // To mark a text one may let go of it beside the dialog.
  const place = await dialog.getByLabel('Display name').boundingBox()
  await alice.mouse.move(place.x + 50, place.y + 10)
  await alice.mouse.down()
  await alice.mouse.move(10, place.y + 10, { steps: 3 })
  await alice.mouse.up()
  assert.equal(await dialog.count(), 1)
  await dialog.getByRole('radio', { name: 'Dark' }).check()
  await dialog.getByText('this session').waitFor()
  // Each button does what stands above it, and the dialog stays: what is filled in elsewhere is not lost behind one's back.
  await dialog.getByLabel('New password').fill('not yet sent')
  await message(bob, 'a mistake').first().hover()
  await message(bob, 'a mistake').first().getByRole('button', { name: 'Reply' }).click()
  await dialog.getByRole('button', { name: 'Save profile' }).click()
  await dialog.getByRole('status').filter({ hasText: 'The profile is saved' }).waitFor()
  assert.equal(await dialog.getByLabel('New password').inputValue(), 'not yet sent')
  await shot(alice, 'settings-saved')
  await dialog.getByRole('button', { name: 'Close' }).last().click()
  await dialog.waitFor({ state: 'detached' })
  await message(bob, 'a mistake').filter({ hasText: 'Alice Liddell' }).first().waitFor()
  await message(bob, 'it happens').getByRole('link', { name: /In reply to.*Alice Liddell.*a mistake/ }).waitFor()
  await bob.getByText('Replying to Alice Liddell').waitFor()
  await box(bob).press('Escape')
  await alice.reload()
  await connected(alice)
  assert.equal(await alice.evaluate(() => document.documentElement.dataset.theme), 'dark')
  await shot(alice, 'dark')
}, { timeout: 20_000 })

test('logging out goes to the door, and back does not get in', async () => {
  await alice.getByRole('button', { name: 'Account' }).click()
  await alice.getByRole('menuitem', { name: 'Log out' }).click()
  await alice.waitForURL('**/login')
  assert.equal(await alice.getByText('You were logged out here').isVisible(), false)
  await alice.goto(`${server.url}/`)
  assert.equal(new URL(alice.url()).pathname, '/login')
  await bob.getByRole('button', { name: /Alice Liddell.*\(offline\)/ }).waitFor({ timeout: 25_000 })
}, { timeout: 40_000 })

test('no page did anything wrong by itself', clean)
