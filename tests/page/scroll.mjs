// Promise: ten thousand messages scroll as ten do. What is in the DOM stays bounded, older history loads on the way up and the
// words in view do not move when it comes; while one reads further up nothing jumps, and one way leads back down.

import assert from 'node:assert/strict'
import { call, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { becomes, clean, loggedIn, log, message, say, shot } from './lib/browser.mjs'

const MANY = 10_000
const server = await startServer({ args: ['--durability', 'normal'] })
const writer = await register(server, 'writer')
const socket = await online(server, writer)
for (let i = 0; i < MANY; i += 500) {
  for (let k = i; k < i + 500; k++) socket.send({ type: 'message', room: 1, text: `number ${k}.${k % 9 ? '' : ' It has a longer text, which takes more than one line where the window is narrow, as real ones do.'}`, nonce: `n${k}` })
  await socket.until(f => f.type === 'message' && f.nonce === `n${i + 499}`)
}
await register(server, 'alice')   // now: what was written before is not unread to her
const alice = await loggedIn(server, 'alice')

/** What is in the page and in view. */
const view = (scrollTo = null) => log(alice).evaluate((list, to) => {
  if (to !== null) list.scrollTop = to
  const edge = list.getBoundingClientRect()
  const inView = [...list.querySelectorAll('article')].filter(n => { const r = n.getBoundingClientRect(); return r.bottom > edge.top && r.top < edge.bottom })
  const number = n => Number(/number (\d+)\./.exec(n?.innerText ?? '')?.[1] ?? -1)
  return { articles: list.querySelectorAll('article').length, nodes: document.querySelectorAll('*').length, first: number(inView[0]), last: number(inView.at(-1)),
    where: Object.fromEntries(inView.map(n => [number(n), Math.round(n.getBoundingClientRect().top - edge.top)])), top: list.scrollTop, height: list.scrollHeight, end: list.scrollHeight - list.scrollTop - list.clientHeight }
}, scrollTo)
/** Every message that was in view stands where it stood. What was blank above it may have been filled. */
function stayed(before, after) {
  const moved = Object.entries(before.where).map(([n, at]) => after.where[n] - at)
  assert.ok(moved.length >= 5, `${moved.length} messages were in view`)
  assert.ok(moved.every(px => Math.abs(px) <= 2), `moved by ${moved} px`)
}
const bounded = v => {
  assert.ok(v.articles <= 200, `${v.articles} messages are in the page`)
  assert.ok(v.nodes <= 3000, `${v.nodes} elements are in the page`)
  assert.ok(v.first >= 0, 'messages are in view')
}

test('a room with 10,000 messages opens at the newest', async () => {
  await message(alice, `number ${MANY - 1}.`).waitFor()
  const v = await view()
  bounded(v)
  assert.ok(v.end < 5, `${v.end} px below`)
  await shot(alice, 'busy')
})

test('the end stays in view while the box grows under a list that has just been scrolled a little', async () => {
  const box = alice.getByRole('textbox', { name: 'Message', exact: true })
  await box.evaluate(n => {
    // The event of the scrolling comes when the list is already lower, and before its observer is told.
    document.querySelector('[role=log]').scrollTop -= 5
    n.value = 'line\n'.repeat(40)
    n.dispatchEvent(new Event('input'))
  })
  await becomes('the end is in view', async () => (await view()).end < 5)
  await box.fill('')
  await becomes('it still is', async () => (await view()).end < 5)
  assert.equal(await alice.getByRole('button', { name: /Jump to latest/ }).count(), 0)
})

test('the way up: older pages load, the DOM stays small, nothing in view moves', async () => {
  await log(alice).hover()
  let before = await view()
  for (let i = 0; i < 60; i++) {
    await alice.mouse.wheel(0, -700)
    await alice.waitForTimeout(30)
    const now = await view()
    bounded(now)
    assert.ok(now.first <= before.first, `went down from ${before.first} to ${now.first} on the way up`)
    assert.ok(before.first - now.first < 60, `jumped from ${before.first} to ${now.first}`)
    before = now
  }
  assert.ok(before.first < MANY - 500, `came to ${before.first}`)
}, { timeout: 60_000 })

test('a page of history that comes in above leaves the words in view where they are', async () => {
  await view(1600)            // near, but not so near that more is asked for
  await becomes('messages are in view', async () => (await view()).first >= 0)
  const before = await view(300)
  await becomes('more is above', async () => (await view()).height > before.height + 500)
  const after = await view()
  stayed(before, after)
})

test('new messages do not move it either; a button counts them and leads down', async () => {
  await alice.waitForTimeout(300)
  const before = await view()
  for (let i = 0; i < 3; i++) socket.send({ type: 'message', room: 1, text: `news ${i}` })
  await alice.getByRole('button', { name: 'Jump to latest (3)' }).waitFor()
  const after = await view()
  stayed(before, after)
  await alice.getByRole('button', { name: 'Jump to latest (3)' }).click()
  await message(alice, 'news 2').waitFor()
  const end = await view()
  bounded({ ...end, first: 0 })
  assert.ok(end.end < 5)
  assert.equal(await alice.getByRole('button', { name: /Jump to latest/ }).count(), 0)
})

test('the message in focus is never behind the button that leads down', async () => {
  await log(alice).evaluate(list => { list.scrollTop -= 3000 })
  await alice.getByRole('button', { name: 'Jump to latest' }).waitFor()
  await log(alice).focus()
  for (let i = 0; i < 6; i++) {
    await alice.keyboard.press(i ? 'ArrowDown' : 'ArrowUp')
    const [end, edge] = await alice.evaluate(() => [document.activeElement.getBoundingClientRect().bottom, document.querySelector('#jump').getBoundingClientRect().top])
    assert.ok(i < 3 || end <= edge, `${end} is below ${edge}`)
  }
})

test('to the very beginning and anywhere in between', async () => {
  await becomes('the first message', async () => {
    await log(alice).evaluate(list => { list.scrollTop = 0 })
    return (await view()).first === 0
  }, 60_000)
  for (const share of [0.5, 0.9, 0.25]) {
    await log(alice).evaluate((list, s) => { list.scrollTop = list.scrollHeight * s }, share)
    await becomes('messages in view', async () => (await view()).first >= 0)
    const v = await view()
    bounded(v)
    assert.ok(Math.abs(v.first / MANY - share) < 0.05, `${v.first} at ${share}`)
  }
}, { timeout: 90_000 })

test('frames come in time while it scrolls', async () => {
  const gaps = await log(alice).evaluate(list => new Promise(done => {
    const found = []
    let last = 0
    list.scrollTop = list.scrollHeight / 3
    const step = t => {
      if (last) found.push(t - last)
      last = t
      list.scrollTop += 120
      if (found.length < 120) requestAnimationFrame(step)
      else done(found)
    }
    requestAnimationFrame(step)
  }))
  // Half of the frames within 50 ms even on a machine that does other things too; here it is 17.
  const middle = gaps.sort((a, b) => a - b)[60]
  assert.ok(middle < 50, `a frame every ${middle} ms`)
}, { timeout: 30_000 })

test('one’s own message leads back to the end', async () => {
  await say(alice, 'down again')
  await message(alice, 'down again').waitFor()
  assert.ok((await view()).end < 5)
})

test('more unread than a page: what was never in view is not marked as seen, until one is there or leaves it out', async () => {
  const reader = await register(server, 'reader')
  const marks = async () => (await call(server, 'GET', '/api/rooms', { token: reader.token })).rooms.find(r => r.id === 1).unread
  for (const leap of ['Jump to first unread', 'Jump to latest']) {
    for (let i = 0; i < 120; i++) socket.send({ type: 'message', room: 1, text: `while away ${i}`, nonce: `${leap}${i}` })
    await socket.until(f => f.type === 'message' && f.nonce === `${leap}119`)
    const page = await loggedIn(server, 'reader')
    await message(page, 'while away 119').last().waitFor()
    await page.getByRole('button', { name: 'Jump to latest', exact: true }).waitFor()
    await page.getByRole('button', { name: 'Jump to first unread' }).waitFor()
    await page.waitForTimeout(300)
    assert.match(await page.title(), /^\(120\) Lobby/)
    await shot(page, 'unread-above')
    await page.getByRole('button', { name: leap }).click()
    if (leap === 'Jump to latest') {
      await becomes('all is read', async () => /^Lobby/.test(await page.title()) && await marks() === 0)
      assert.equal(await page.getByRole('button', { name: 'Jump to latest' }).isVisible(), false)
    } else {
      await log(page).getByRole('separator', { name: 'New' }).waitFor()
      await becomes('what is in view is read', async () => await marks() < 119)
      assert.ok(await marks() > 60, `${await marks()} are unread`)
      await log(page).press('End')
      await becomes('all is read', async () => await marks() === 0)
    }
    await page.context().close()
  }
}, { timeout: 30_000 })

test('a jump that is asked for while an older page is on its way is made when that has come', async () => {
  for (let i = 0; i < 120; i++) socket.send({ type: 'message', room: 1, text: `far up ${i}`, nonce: `far${i}` })
  await socket.until(f => f.type === 'message' && f.nonce === 'far119')
  const page = await loggedIn(server, 'reader')
  await message(page, 'far up 119').waitFor()
  await page.getByRole('button', { name: 'Jump to first unread' }).waitFor()
  await log(page).evaluate(list => {
    list.scrollTop = 0
    list.dispatchEvent(new Event('scroll'))       // asks for an older page
    document.querySelector('#unread').click()
  })
  await becomes('the first unread message has the focus', () => page.evaluate(() => /far up 0\b/.test(document.activeElement.innerText)))
  await page.context().close()
}, { timeout: 20_000 })

test('no page did anything wrong by itself', clean)
