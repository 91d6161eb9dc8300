// Promise: what people write is text and nothing else. Scripts, links that are none, marks that turn the writing direction and
// endless words do nothing as messages, display names, room names, topics or statuses; and no page asks another origin.

import assert from 'node:assert/strict'
import { call, http, online, register } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'
import { becomes, box, clean, connected, log, message, registered, say, shot, texts, visitor } from './lib/browser.mjs'

const server = await startServer()
const mallory = await register(server, 'mallory')
const writer = await online(server, mallory)
const alice = await registered(server, 'alice')

const HOSTILE = [
  '<script>globalThis.pwned = 1</script>',
  '<img src=x onerror="globalThis.pwned=1">',
  '"><svg/onload=globalThis.pwned=1>',
  '<a href="javascript:globalThis.pwned=1">click</a>',
  '<style>*{display:none!important}</style>',
  '<iframe src="https://example.org/"></iframe>',
  '[click](javascript:globalThis.pwned=1)',
  'javascript:globalThis.pwned=1',
  'JaVaScRiPt:globalThis.pwned=1//http://x',
  'data:text/html,<script>globalThis.pwned=1</script>',
  'https://example.org/"onmouseover="globalThis.pwned=1',
  "https://example.org/'><script>globalThis.pwned=1</script>",
  'http://user:pass@example.org:80/a(b)c).',
  '**<b onclick=globalThis.pwned=1>bold</b>**',
  '`<script>globalThis.pwned=1</script>`',
  '```\n<script>globalThis.pwned=1</script>\n```',
  '> <img src=x onerror=globalThis.pwned=1>',
  '- <img src=x onerror=globalThis.pwned=1>',
  '{{constructor.constructor("globalThis.pwned=1")()}} ${globalThis.pwned=1} __proto__ constructor',
  '@<img src=x onerror=globalThis.pwned=1> @alice<script>1</script> @__proto__ @constructor',
  '\u202Egnp.exe evil \u2066hidden\u2069 \u200Fright',
  'w'.repeat(3990),
  'a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308'.repeat(300),
  '*'.repeat(2000) + '_'.repeat(1900),
  '`'.repeat(3999),
  '('.repeat(100) + ' https://example.org/' + ')'.repeat(3000),
  '>'.repeat(3000),
  '\n'.repeat(0) + Array.from({ length: 900 }, (_, i) => `- ${i % 10}`).join('\n'),
  '👩‍👩‍👧‍👦'.repeat(200),
]

test('hostile messages show as the text that they are', async () => {
  for (const text of HOSTILE) writer.send({ type: 'message', room: 1, text })
  writer.send({ type: 'message', room: 1, text: 'the end of it' })
  await message(alice, 'the end of it').waitFor()
  assert.equal(await alice.evaluate(() => globalThis.pwned), undefined)
  const inside = await log(alice).evaluate(n => [...n.querySelectorAll('script,style,iframe,img,object,embed,link,form,input')].length)
  assert.equal(inside, 0)
  const shown = (await log(alice).innerText())
  for (const text of HOSTILE.slice(0, 12)) assert.ok(shown.includes(text), `shows ${text}`)
  await shot(alice, 'hostile')
}, { timeout: 30_000 })

test('towers of marks do not paint over what others wrote', async () => {
  const spill = await message(alice, 'a\u0300\u0301').first().locator('.txt').evaluate(n => [getComputedStyle(n).overflowX, getComputedStyle(n).overflowY])
  assert.deepEqual(spill, ['clip', 'clip'])
})

test('only http and https become links, and they lead where they say', async () => {
  const links = await log(alice).getByRole('link').evaluateAll(nodes => nodes.map(n => [n.getAttribute('href'), n.textContent, n.rel, n.target]))
  assert.ok(links.length >= 4)
  for (const [href, text, rel, target] of links) {
    assert.match(href, /^https?:\/\//)
    assert.equal(href, text)
    assert.match(rel, /noopener/)
    assert.match(rel, /noreferrer/)
    assert.equal(target, '_blank')
    assert.doesNotMatch(href, /["'<>\u202e\u2066]/)
  }
})

test('no attribute of the page came from a message as code', async () => {
  const handlers = await alice.evaluate(() => [...document.querySelectorAll('*')].flatMap(n => [...n.attributes]).filter(a => /^on/i.test(a.name) || /^\s*javascript:/i.test(a.value)).map(a => a.name + '=' + a.value.slice(0, 60)))
  assert.deepEqual(handlers, [])
})

test('a huge word or a long list widens nothing', async () => {
  for (const width of [1280, 390, 320]) {
    await alice.setViewportSize({ width, height: 800 })
    await alice.waitForTimeout(100)
    const [page, list] = await alice.evaluate(() => [document.documentElement.scrollWidth, (n => n.scrollWidth - n.clientWidth)(document.querySelector('[role=log]'))])
    assert.ok(page <= width, `the page is ${page} wide at ${width}`)
    assert.ok(list <= 0, `the list is ${list} too wide at ${width}`)
  }
  await alice.setViewportSize({ width: 1280, height: 800 })
})

test('hostile display names and statuses stay text', async () => {
  const names = ['<script>globalThis.pwned=1</script>', '\u202Eecila', '"onclick="globalThis.pwned=1', 'W'.repeat(64), '\u0627\u0644\u0639\u0631\u0628\u064A\u0629 <b>x</b>']
  let shownNames = 0
  for (const [i, name] of names.entries()) {
    const res = await http(server, 'PATCH', '/api/me', { token: mallory.token, json: { display_name: name } })
    if (res.status !== 200) { assert.ok([400, 422].includes(res.status), res.text); continue }
    shownNames++
    const shown = res.json.user.display_name
    writer.send({ type: 'message', room: 1, text: `under name ${i}` })
    await message(alice, `under name ${i}`).waitFor()
    await becomes('the name shows', async () => (await alice.getByRole('complementary', { name: 'People' }).innerText()).includes(shown))
    assert.equal(await alice.evaluate(() => globalThis.pwned), undefined)
    // The name is isolated: what stands beside it keeps its own direction.
    assert.equal(await message(alice, `under name ${i}`).locator('.who').evaluate(n => getComputedStyle(n).unicodeBidi), 'isolate')
  }
  assert.ok(shownNames >= 3, `${shownNames} of them were taken`)
  assert.ok(await alice.evaluate(() => document.documentElement.scrollWidth) <= 1280)
}, { timeout: 20_000 })

test('hostile topics and room names stay text', async () => {
  for (const topic of ['<img src=x onerror=globalThis.pwned=1>', '\u202Etxet siht', 'T'.repeat(250)]) {
    const res = await http(server, 'POST', '/api/rooms', { token: mallory.token, json: { name: `Room ${topic.length}`, topic } })
    if (res.status !== 201) { assert.ok([400, 422].includes(res.status), res.text); continue }
    await call(server, 'POST', `/api/rooms/${res.json.room.id}/members`, { token: mallory.token, json: { username: 'alice' } })
    await alice.getByRole('navigation', { name: 'Rooms' }).getByRole('link', { name: `Room ${topic.length}` }).click()
    await becomes('the topic shows', async () => await alice.locator('#topic').innerText() === res.json.room.topic)
    assert.equal(await alice.evaluate(() => globalThis.pwned), undefined)
    assert.ok(await alice.evaluate(() => document.documentElement.scrollWidth) <= 1280)
  }
  const refused = await http(server, 'POST', '/api/rooms', { token: mallory.token, json: { name: '<script>' } })
  assert.ok([400, 422].includes(refused.status), refused.text)
}, { timeout: 20_000 })

test('hostile text in the composer, in a draft and in the outbox stays text', async () => {
  await say(alice, HOSTILE[0])
  await message(alice, HOSTILE[0]).first().waitFor()
  await box(alice).fill(HOSTILE[1])
  await box(alice).blur()
  await alice.reload()
  await connected(alice)
  assert.equal(await box(alice).inputValue(), HOSTILE[1])
  assert.equal(await alice.evaluate(() => globalThis.pwned), undefined)
  assert.ok((await texts(alice)).includes(HOSTILE[0]))
})

test('a fragment with a hostile invitation or room does nothing', async () => {
  const page = await visitor(server)
  await page.goto(`${server.url}/register#invite=<script>globalThis.pwned=1</script>`)
  await page.getByRole('button', { name: 'Create account' }).waitFor()
  assert.equal(await page.evaluate(() => globalThis.pwned), undefined)
  await page.context().close()
  await alice.goto(`${server.url}/#r99999999`)
  await connected(alice)
  await alice.getByRole('heading', { name: 'Lobby' }).waitFor()
})

test('no page did anything wrong by itself', clean)
