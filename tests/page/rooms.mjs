// Promise: rooms on the page. One makes a room, another finds and joins it or is invited; unread counts and mentions show on the
// link and in the title; leaving makes it vanish; a private room that one is not in never shows.

import assert from 'node:assert/strict'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { axe, becomes, box, clean, connected, message, registered, say, shot } from './lib/browser.mjs'

const server = await startServer()
const alice = await registered(server, 'alice')
const bob = await registered(server, 'bob')
const carol = await registered(server, 'carol')
const rooms = page => page.getByRole('navigation', { name: 'Rooms' })
const link = (page, name) => rooms(page).getByRole('link', { name })

async function makeRoom(page, name, { topic = '', hidden = false } = {}) {
  await page.getByRole('button', { name: 'New room' }).click()
  const dialog = page.getByRole('dialog', { name: 'New room' })
  await dialog.getByLabel('Name').fill(name)
  await dialog.getByLabel('Topic').fill(topic)
  if (hidden) await dialog.getByRole('checkbox').check()
  await dialog.getByRole('button', { name: 'Create room' }).click()
  await page.getByRole('heading', { name }).waitFor()
}

test('a new room opens at once; a taken name is said in the dialog', async () => {
  await makeRoom(alice, 'Kitchen rota', { topic: 'Who does the dishes' })
  await alice.getByText('Who does the dishes').waitFor()
  await say(alice, 'first in the kitchen')
  await message(alice, 'first in the kitchen').getByLabel('sent', { exact: true }).waitFor()
  await bob.getByRole('button', { name: 'New room' }).click()
  await bob.getByRole('dialog').getByLabel('Name').fill('kitchen ROTA')
  await bob.getByRole('button', { name: 'Create room' }).click()
  await bob.getByRole('alert').filter({ hasText: 'already' }).waitFor()
  await bob.keyboard.press('Escape')
})

test('another finds it, joins it and reads it', async () => {
  await bob.getByRole('button', { name: 'Find a room' }).click()
  await bob.getByRole('button', { name: 'Join Kitchen rota' }).click()
  await bob.getByRole('heading', { name: 'Kitchen rota' }).waitFor()
  await message(bob, 'first in the kitchen').waitFor()
  await say(bob, 'hello kitchen')
  await message(alice, 'hello kitchen').waitFor()
  await message(bob, 'hello kitchen').getByLabel('seen', { exact: true }).waitFor()
  await alice.getByRole('complementary', { name: 'People' }).getByRole('button', { name: /bob/ }).waitFor()
})

test('unread messages and mentions count on the link and in the title, and go when they are read', async () => {
  await link(bob, 'Lobby').click()
  await say(alice, 'one')
  await link(bob, /Kitchen rota.*1 unread/).waitFor()
  await say(alice, '@bob two')
  await link(bob, /Kitchen rota.*2 unread, 1 mention/).waitFor()
  await becomes('the title counts', async () => /^\(2\) Lobby/.test(await bob.title()))
  await shot(bob, 'unread')
  await bob.reload()
  await connected(bob)
  await link(bob, /Kitchen rota.*2 unread, 1 mention/).click()
  await message(bob, '@bob two').waitFor()
  await bob.getByRole('separator', { name: 'New' }).waitFor()
  await becomes('nothing is unread', async () => /^Kitchen rota/.test(await bob.title()))
  assert.equal(await link(bob, /unread/).count(), 0)
}, { timeout: 20_000 })

test('drafts belong to their room', async () => {
  const holds = text => becomes(`the box holds "${text}"`, async () => await box(bob).inputValue() === text)
  await box(bob).fill('for the kitchen')
  await link(bob, 'Lobby').click()
  await holds('')
  await box(bob).fill('for the lobby')
  await link(bob, 'Kitchen rota').click()
  await holds('for the kitchen')
  await box(bob).fill('')
  await bob.goBack()
  await bob.getByRole('heading', { name: 'Lobby' }).waitFor()
  await holds('for the lobby')
  await box(bob).fill('')
})

test('a private room shows to its members alone; an invitation opens it', async () => {
  await makeRoom(alice, 'Station leads', { hidden: true })
  await say(alice, 'between us')
  await carol.getByRole('button', { name: 'Find a room' }).click()
  await carol.getByRole('dialog').getByText('Kitchen rota').waitFor()
  assert.equal(await carol.getByText('Station leads').count(), 0)
  await carol.keyboard.press('Escape')
  await alice.getByRole('button', { name: 'About this room' }).click()
  const dialog = alice.getByRole('dialog', { name: 'Station leads' })
  await dialog.getByLabel('Add somebody').fill('carol')
  await dialog.getByRole('button', { name: 'Add', exact: true }).click()
  await dialog.getByText('@carol').waitFor()
  await axe(alice, 'about a room')
  await link(carol, 'Station leads').click()
  await message(carol, 'between us').waitFor()
  assert.equal(await link(bob, 'Station leads').count(), 0)
  await dialog.getByRole('button', { name: 'Remove carol' }).click()
  await carol.getByRole('heading', { name: 'Lobby' }).waitFor()
  assert.equal(await link(carol, 'Station leads').count(), 0)
  assert.equal(await message(carol, 'between us').count(), 0)
  await alice.keyboard.press('Escape')
}, { timeout: 20_000 })

test('a new name and topic show everywhere; an archived room is read only', async () => {
  await link(bob, 'Kitchen rota').click()
  await link(alice, 'Kitchen rota').click()
  await alice.getByRole('button', { name: 'About this room' }).click()
  await alice.getByRole('dialog').getByLabel('Name').fill('Galley')
  await alice.getByRole('dialog').getByLabel('Topic').fill('Dishes and tea')
  await alice.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  await bob.getByRole('heading', { name: 'Galley' }).waitFor()
  await bob.getByText('Dishes and tea').waitFor()
  await alice.getByRole('button', { name: 'About this room' }).click()
  await alice.getByRole('button', { name: 'Archive room' }).click()
  await becomes('it cannot be written in', () => box(bob).isDisabled())
  await alice.getByRole('button', { name: 'About this room' }).click()
  await alice.getByRole('button', { name: 'Open it again' }).click()
  await becomes('it can again', () => box(bob).isEnabled())
}, { timeout: 20_000 })

test('leaving asks, and the room is gone from the page', async () => {
  await bob.getByRole('button', { name: 'About this room' }).click()
  await bob.getByRole('button', { name: 'Leave room' }).click()
  await bob.getByRole('dialog', { name: 'Leave Galley?' }).getByRole('button', { name: 'Leave' }).click()
  await bob.getByRole('heading', { name: 'Lobby' }).waitFor()
  assert.equal(await link(bob, 'Galley').count(), 0)
})

test('no page did anything wrong by itself', clean)
