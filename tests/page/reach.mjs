// Promise: everybody reaches everything. The keyboard alone does it all; axe-core finds nothing on the three pages, light and dark,
// wide and narrow; the page fits 320 px and 200 % zoom; a screen reader hears new messages and not the history; it is light.

import assert from 'node:assert/strict'
import { PASSWORD, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { axe, becomes, box, clean, connected, log, loggedIn, message, registered, say, shot, visitor } from './lib/browser.mjs'

const server = await startServer()
const bob = await register(server, 'bob')
const socket = await online(server, bob)
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }

test('register, log in, write, edit, answer and log out by the keyboard alone', async () => {
  const page = await visitor(server)
  await page.goto(`${server.url}/register`)
  await page.keyboard.type('keys')
  await page.keyboard.press('Tab')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await connected(page)
  // Somebody just begins to write: it goes into the box.
  await page.keyboard.type('from the keys')
  await page.keyboard.press('Enter')
  await message(page, 'from the keys').getByLabel('sent', { exact: true }).waitFor()
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('End')
  await page.keyboard.type('!')
  await page.keyboard.press('Enter')
  await message(page, 'from the keys!').filter({ hasText: 'edited' }).waitFor()
  socket.send({ type: 'message', room: 1, text: 'answer me' })
  await message(page, 'answer me').waitFor()
  // From the box back into the list, on to the newest message, reply.
  await tabTo(page, () => document.activeElement.getAttribute('role') === 'log', 'Shift+Tab')
  await page.keyboard.press('ArrowUp')
  assert.match(await page.evaluate(() => document.activeElement.innerText), /answer me/)
  await page.keyboard.press('r')
  await page.keyboard.type('answered')
  await page.keyboard.press('Enter')
  await message(page, 'answered').getByText('In reply to').waitFor({ state: 'attached' })
  // The tools of a message are reached by Tab from the message; Esc closes what asks, and the focus returns.
  await tabTo(page, () => document.activeElement.getAttribute('role') === 'log', 'Shift+Tab')
  await page.keyboard.press('ArrowUp')
  await tabTo(page, () => document.activeElement.getAttribute('aria-label') === 'Delete', 'Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Delete')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Enter')
  await message(page, 'Message deleted').waitFor()
  // Emoji, help, a new room, the account menu.
  await box(page).focus()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog', { name: 'Emoji' }).getByRole('button').first().waitFor()
  await page.keyboard.type('rocket')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  assert.equal(await box(page).inputValue(), '🚀')
  await box(page).fill('')
  await log(page).focus()
  await page.keyboard.press('?')
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor()
  await page.keyboard.press('Escape')
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'log')
  await page.getByRole('button', { name: 'New room' }).focus()
  await page.keyboard.press('Enter')
  await page.getByRole('dialog', { name: 'New room' }).waitFor()
  await page.keyboard.type('Quiet corner')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'Quiet corner' }).waitFor()
  await page.keyboard.press('Alt+ArrowDown')
  await page.getByRole('heading', { name: 'Lobby' }).waitFor()
  await page.getByRole('button', { name: 'Account' }).focus()
  await page.keyboard.press('Enter')
  await page.getByRole('menuitem', { name: 'Settings' }).waitFor()
  await page.keyboard.press('Escape')
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Account')
  await page.keyboard.press('Enter')
  await page.keyboard.press('End')
  await page.keyboard.press('Enter')
  await page.waitForURL('**/login')
  await page.context().close()
}, { timeout: 60_000 })

async function tabTo(page, there, key) {
  for (let i = 0; i < 40; i++) {
    if (await page.evaluate(there)) return
    await page.keyboard.press(key)
  }
  assert.fail(`${key} never came to ${there}`)
}

test('every stop of Tab is visible and has a name', async () => {
  const page = await loggedIn(server, 'keys')
  const seen = new Set()
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    const at = await page.evaluate(() => {
      const n = document.activeElement
      if (n === document.body) return null
      const r = n.getBoundingClientRect()
      const style = getComputedStyle(n.closest('.pen') && n.tagName === 'TEXTAREA' ? n.closest('.pen') : n)
      return { what: n.outerHTML.slice(0, 100), name: n.getAttribute('aria-label') || n.innerText || n.placeholder, shown: r.width > 0 && r.height > 0, ring: style.outlineStyle !== 'none',
        small: n.matches('button,a.it') && Math.min(r.width, r.height) < 24 }
    })
    if (!at) break
    seen.add(at.what)
    assert.ok(at.name, `a name for ${at.what}`)
    assert.ok(at.shown, `visible: ${at.what}`)
    assert.ok(at.ring, `a ring around ${at.what}`)
    assert.ok(!at.small, `at least 24 px: ${at.what}`)
  }
  assert.ok(seen.size >= 8, `${seen.size} stops`)
  await page.context().close()
}, { timeout: 30_000 })

for (const [name, options] of [['light', {}], ['dark', { colorScheme: 'dark' }], ['phone', PHONE], ['narrow', { viewport: { width: 320, height: 640 } }]]) {
  test(`axe finds nothing: ${name}`, async () => {
    const page = await visitor(server, options)
    await page.goto(`${server.url}/login`)
    await page.getByRole('textbox', { name: 'Username' }).fill('nobody')
    await page.getByLabel('Password').fill('wrong password')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('alert').waitFor()
    await axe(page, 'login')
    await shot(page, `login-${name}`)
    await page.getByRole('link', { name: 'Create account' }).click()
    await page.getByRole('button', { name: 'Create account' }).waitFor()
    await axe(page, 'register')
    await shot(page, `register-${name}`)
    await page.getByRole('textbox', { name: 'Username' }).fill(`axe-${name}`)
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByRole('button', { name: 'Create account' }).click()
    await connected(page)
    for (const text of [`@axe-${name} look, \`code\` and https://example.org/`, '```\na block of code\n```', `> a quote\n- a list for ${name}`]) socket.send({ type: 'message', room: 1, text })
    await message(page, `a list for ${name}`).waitFor()
    await say(page, `mine, ${name}`)
    await message(page, `mine, ${name}`).getByLabel('sent', { exact: true }).waitFor()
    await axe(page, 'chat')
    await shot(page, `chat-${name}`)
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'no sideways scrolling')
    await page.getByRole('button', { name: 'Emoji', exact: true }).click()
    await page.getByRole('dialog', { name: 'Emoji' }).getByRole('button').first().waitFor()
    await axe(page, 'emoji')
    await page.keyboard.press('Escape')
    if (name === 'phone' || name === 'narrow') {
      await page.getByRole('button', { name: 'People in this room' }).click()
      await page.getByRole('complementary', { name: 'People' }).waitFor()
      await axe(page, 'people')
      await page.getByRole('button', { name: 'Close people' }).click()
      await page.getByRole('button', { name: 'Back to rooms' }).click()
      await axe(page, 'rooms')
      await shot(page, `rooms-${name}`)
    }
    await page.getByRole('button', { name: 'Account' }).click()
    await axe(page, 'menu')
    await page.getByRole('menuitem', { name: 'Settings' }).click()
    await page.getByText('this session').waitFor()
    await axe(page, 'settings')
    await shot(page, `settings-${name}`)
    await page.keyboard.press('Escape')
    await page.context().close()
  }, { timeout: 60_000 })
}

test('a screen reader hears new messages, not the history', async () => {
  for (let i = 0; i < 200; i++) socket.send({ type: 'message', room: 1, text: `history ${i}` })
  await socket.until(f => f.text === 'history 199')
  const page = await loggedIn(server, 'keys')
  await message(page, 'history 199').waitFor()
  // What is put into the list while it is polite would be read out.
  await page.evaluate(() => {
    globalThis.heard = []
    const list = document.querySelector('[role=log]')
    new MutationObserver(all => {
      if (list.getAttribute('aria-live') !== 'polite' || list.getAttribute('aria-busy')) return
      for (const m of all) for (const n of m.addedNodes) if (n.nodeName === 'ARTICLE') globalThis.heard.push(n.innerText)
    }).observe(list, { childList: true })
  })
  await becomes('it rests', () => page.evaluate(() => document.querySelector('[role=log]').getAttribute('aria-live') === 'polite'))
  const high = await log(page).evaluate(list => list.scrollHeight)
  await log(page).evaluate(list => { list.scrollTop = 0 })
  await becomes('older pages are there', () => log(page).evaluate((list, before) => list.scrollHeight > before + 1500, high))
  await page.getByRole('button', { name: /Jump to latest/ }).click()
  await page.waitForTimeout(800)
  assert.deepEqual(await page.evaluate(() => globalThis.heard), [])
  socket.send({ type: 'message', room: 1, text: 'fresh news' })
  await message(page, 'fresh news').waitFor()
  const heard = await page.evaluate(() => globalThis.heard)
  assert.equal(heard.length, 1)
  assert.match(heard[0], /bob[\s\S]*fresh news/)
  await page.context().close()
}, { timeout: 30_000 })

test('the focus never goes behind the people; the list is where it was when they close, and loads nothing meanwhile', async () => {
  const page = await visitor(server, { viewport: { width: 900, height: 700 } })
  let asked = 0
  page.on('websocket', ws => ws.on('framesent', f => { if (/"history"/.test(f.payload)) asked++ }))
  await page.goto(`${server.url}/login`)
  await page.getByRole('textbox', { name: 'Username' }).fill('keys')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await connected(page)
  await message(page, 'history 199').waitFor()
  for (const width of [900, 390]) {
    await page.setViewportSize({ width, height: 700 })
    await becomes('it is drawn', () => log(page).evaluate(l => l.scrollHeight - l.scrollTop - l.clientHeight < 5))
    await log(page).evaluate(l => { l.scrollTop -= 300 })
    await page.getByRole('button', { name: /Jump to latest/ }).waitFor()
    const before = await log(page).evaluate(l => l.scrollHeight - l.scrollTop)
    await page.getByRole('button', { name: 'People in this room' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('complementary', { name: 'People' }).waitFor()
    asked = 0
    for (const key of ['Tab', 'Shift+Tab', 'Shift+Tab', 'Shift+Tab', 'Shift+Tab', 'Tab', 'Tab']) {
      await page.keyboard.press(key)
      assert.equal(await page.evaluate(() => {
        const n = document.activeElement
        const r = n.getBoundingClientRect()
        const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)
        return n === document.body || n.contains(top) ? '' : n.outerHTML.slice(0, 100)
      }), '', `${width}: what has the focus can be seen`)
    }
    if (width === 390) await page.getByRole('button', { name: 'Close people' }).click()
    await page.getByRole('complementary', { name: 'People' }).waitFor({ state: 'hidden' })
    await log(page).waitFor()
    assert.ok(Math.abs(await log(page).evaluate(l => l.scrollHeight - l.scrollTop) - before) < 3, `${width}: the same words are in view`)
    await page.getByRole('button', { name: /Jump to latest/ }).click()
  }
  await page.getByRole('button', { name: 'Back to rooms' }).click()
  socket.send({ type: 'message', room: 1, text: 'behind the list of rooms' })
  await becomes('it has come', async () => /^\(1\)/.test(await page.title()))
  await page.waitForTimeout(300)
  assert.equal(asked, 0, 'pages of history for a list that nobody sees')
  await page.context().close()
}, { timeout: 30_000 })

test('with reduced motion nothing moves', async () => {
  const page = await loggedIn(server, 'keys', { reducedMotion: 'reduce' })
  socket.send({ type: 'typing', room: 1 })
  await page.getByRole('status').filter({ hasText: 'bob is typing…' }).waitFor()
  const moving = await page.evaluate(() => document.getAnimations().length)
  assert.equal(moving, 0)
  await page.context().close()
}, { timeout: 20_000 })

test('the back gesture of a phone closes what is open', async () => {
  const page = await visitor(server, PHONE)
  // What the gesture does cannot be done from here; what the browser then tells the page can.
  await page.addInitScript(() => {
    const Real = globalThis.CloseWatcher
    globalThis.CloseWatcher = class extends Real { constructor() { super(); globalThis.back = () => this.requestClose() } }
  })
  await page.goto(`${server.url}/login`)
  await page.getByRole('textbox', { name: 'Username' }).fill('keys')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await connected(page)
  // A tap on a message shows its tools, large enough for a finger and not on the words they belong to.
  const tapped = log(page).getByRole('article').filter({ hasText: /history/ }).last()
  await tapped.tap({ position: { x: 80, y: 10 } })
  const tool = await tapped.getByRole('button', { name: 'Reply' }).boundingBox()
  const words = await tapped.locator('.txt').boundingBox()
  assert.ok(Math.min(tool.width, tool.height) >= 44, `${tool.width} by ${tool.height}`)
  assert.ok(tool.y + tool.height <= words.y + 2, 'above the words')
  assert.ok(tool.y >= (await log(page).boundingBox()).y, 'in view')
  await page.getByRole('button', { name: 'People in this room' }).click()
  await page.getByRole('complementary', { name: 'People' }).waitFor()
  await page.evaluate(() => globalThis.back())
  await page.getByRole('complementary', { name: 'People' }).waitFor({ state: 'hidden' })
  // A turn to another room closes them too, and their button says so.
  await page.getByRole('button', { name: 'People in this room', expanded: false }).click()
  await page.getByRole('button', { name: 'Close people' }).waitFor()
  await page.evaluate(() => { location.hash = '#r1' })
  await page.getByRole('button', { name: 'People in this room', expanded: false }).waitFor()
  await page.getByRole('button', { name: 'Emoji', exact: true }).click()
  await page.getByRole('dialog', { name: 'Emoji' }).waitFor()
  await page.evaluate(() => globalThis.back())
  await page.getByRole('dialog', { name: 'Emoji' }).waitFor({ state: 'detached' })
  // Closed in another way: nothing is left that would swallow the next gesture.
  await page.getByRole('button', { name: 'Emoji', exact: true }).click()
  await page.getByRole('dialog', { name: 'Emoji' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog', { name: 'Emoji' }).waitFor({ state: 'detached' })
  await box(page).waitFor()
  // Nor does the screen's keyboard come up and cover half of what one wants to look at.
  await page.getByRole('button', { name: 'Back to rooms' }).click()
  await page.getByRole('button', { name: 'Account' }).click()
  await page.getByRole('menuitem', { name: 'Settings' }).click()
  const settings = page.getByRole('dialog', { name: 'Settings' })
  await settings.waitFor()
  assert.equal(await settings.evaluate(d => d.contains(document.activeElement) && document.activeElement.tagName), 'BUTTON')
  await page.context().close()
}, { timeout: 30_000 })

test('200 % zoom of a laptop and a view of 320 px need no sideways scrolling', async () => {
  const page = await loggedIn(server, 'keys', { viewport: { width: 640, height: 400 } })
  for (const width of [640, 320]) {
    await page.setViewportSize({ width, height: 480 })
    await box(page).waitFor()
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `at ${width}`)
  }
  // Who has set larger letters in the browser gets the narrower layout: no layout is chosen by pixels.
  const chosen = await page.evaluate(() => [...document.styleSheets[0].cssRules].filter(r => r.media).map(r => r.media.mediaText).filter(t => /width/.test(t)))
  assert.ok(chosen.length >= 3)
  assert.deepEqual(chosen.filter(t => /px/.test(t)), [])
  await page.context().close()
}, { timeout: 20_000 })

test('right to left: the page mirrors and nothing breaks out', async () => {
  const page = await loggedIn(server, 'keys')
  await page.evaluate(() => { document.documentElement.dir = 'rtl' })
  await say(page, 'صباح الخير! 868 MHz')
  await message(page, 'صباح الخير').waitFor()
  socket.send({ type: 'message', room: 1, text: 'in two directions' })
  await message(page, 'in two directions').waitFor()
  assert.equal(await message(page, 'صباح الخير').locator('p').evaluate(n => getComputedStyle(n).direction), 'rtl')
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth))
  await shot(page, 'rtl')
  await page.evaluate(() => { document.documentElement.dir = 'ltr' })
  assert.equal(await message(page, 'صباح الخير').locator('p').evaluate(n => getComputedStyle(n).direction), 'rtl')
  assert.equal(await message(page, 'in two directions').locator('p').evaluate(n => getComputedStyle(n).direction), 'ltr')
  await page.context().close()
}, { timeout: 20_000 })

test('plain http under a name of the LAN, no secure context: everything works', async () => {
  const lan = { ...server, url: `http://station.lan:${server.port}` }
  const page = await registered(lan, 'lan')
  assert.equal(await page.evaluate(() => isSecureContext), false)
  assert.equal(await page.evaluate(() => typeof crypto.randomUUID + typeof navigator.clipboard), 'undefinedundefined')
  await say(page, 'over the air')
  await message(page, 'over the air').getByLabel('sent', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'New room' }).click()
  await page.getByRole('dialog').getByLabel('Name').fill('On the LAN')
  await page.getByRole('button', { name: 'Create room' }).click()
  await page.getByRole('heading', { name: 'It is quiet in here' }).waitFor()
  await page.context().close()
}, { timeout: 20_000 })

test('the address to share can be copied there too', async () => {
  const fresh = await startServer()
  const page = await registered({ ...fresh, url: `http://station.lan:${fresh.port}` }, 'first')
  await page.getByRole('button', { name: 'Copy address' }).click()
  await page.getByRole('button', { name: 'Copied' }).waitFor()
  await box(page).focus()
  await page.keyboard.press('Control+V')
  assert.equal(await box(page).inputValue(), `http://station.lan:${fresh.port}`)
  await page.context().close()
}, { timeout: 20_000 })

for (const path of ['/login', '/']) {
  test(`the first load of ${path} is at most 60 KiB compressed, all of it cacheable but the page`, async () => {
    // A browser that has a session and nothing in its cache.
    const door = path === '/' ? await loggedIn(server, 'keys') : null
    const page = await visitor(server, door ? { storageState: await door.context().storageState() } : {})
    const loads = []
    page.on('response', response => {
      const { pathname } = new URL(response.url())
      if (pathname.startsWith('/api')) return
      loads.push(Promise.all([response.allHeaders(), response.request().sizes()]).then(([h, sizes]) =>
        ({ pathname, wire: Number(h['content-length']), heads: sizes.responseHeadersSize, encoding: h['content-encoding'], cache: h['cache-control'] ?? '' })))
    })
    await page.goto(`${server.url}${path}`)
    if (path === '/') await connected(page)
    await page.waitForLoadState('networkidle')
    const all = await Promise.all(loads)
    assert.ok(all.length >= 4, `${all.length} answers`)
    const assets = all.filter(l => l.pathname.startsWith('/assets/'))
    for (const l of assets) assert.match(l.cache, /immutable/, l.pathname)
    for (const l of all) {
      assert.equal(l.encoding, 'gzip', l.pathname)
      assert.ok(l.wire > 0, `${l.pathname} says how long it is`)
    }
    const once = new Map(all.map(l => [l.pathname, l.wire]))
    const total = [...once.values()].reduce((a, b) => a + b, 0)
    const heads = [...new Map(all.map(l => [l.pathname, l.heads])).values()].reduce((a, b) => a + b, 0)
    assert.ok(total > 5000 && heads > 100 * once.size, `${total} bytes and ${heads} of headers in ${once.size} files`)
    assert.ok(total + heads <= 60 * 1024, `${total} bytes and ${heads} of headers in ${once.size} files`)
    console.log(`# the first load of ${path}: ${total} bytes compressed, ${once.size} files, and ${heads} bytes of headers`)
    await page.context().close()
  }, { timeout: 20_000 })
}

test('no page did anything wrong by itself', clean)
