// Promise: a small safe subset of Markdown, the same for everybody. Each text has one reading; what is no complete mark stays
// as it was typed; no text of the allowed length takes long. Runs text.js of the served page, in the browser.

import assert from 'node:assert/strict'
import { startServer } from '../support/server.mjs'
import { random, seed, test } from '../support/suite.mjs'
import { clean, registered } from './lib/browser.mjs'

const server = await startServer()
const page = await registered(server, 'alice')

/** The text as nodes, written out: attributes that are always the same are left out. */
const read = text => page.evaluate(async source => {
  const module = document.querySelector('link[rel=modulepreload][href$="/text.js"]').href
  const { blocks } = await import(module)
  const who = name => (['bob', 'ann.lee'].includes(name.toLowerCase()) ? { username: name } : name === 'alice' ? { username: name, you: true } : null)
  const div = document.createElement('div')
  div.append(...blocks(source, who))
  for (const n of div.querySelectorAll('*')) for (const a of ['dir', 'tabindex', 'role', 'aria-label', 'rel', 'target']) n.removeAttribute(a)
  return div.innerHTML
}, text)

const TABLE = [
  ['plain', '<p>plain</p>'],
  ['one\ntwo', '<p>one<br>two</p>'],
  ['one\n\ntwo', '<p>one</p><p>two</p>'],
  ['**bold** and *italic* and `code`', '<p><strong>bold</strong> and <em>italic</em> and <code>code</code></p>'],
  ['__bold__ and _italic_', '<p><strong>bold</strong> and <em>italic</em></p>'],
  ['**bold *both* bold**', '<p><strong>bold <em>both</em> bold</strong></p>'],
  ['snake_case_name and __init__.py', '<p>snake_case_name and <strong>init</strong>.py</p>'],
  ['2 * 3 * 4', '<p>2 * 3 * 4</p>'],
  ['2*3*4 a*b*c 2**3**4 *a*b', '<p>2*3*4 a*b*c 2**3**4 *a*b</p>'],
  ['(*a*), \u8fd9\u662f*\u5f3a\u8c03*\u7684', '<p>(<em>a</em>), \u8fd9\u662f<em>\u5f3a\u8c03</em>\u7684</p>'],
  ['**open', '<p>**open</p>'],
  ['*open', '<p>*open</p>'],
  ['`open', '<p>`open</p>'],
  ['``', '<p>``</p>'],
  ['****', '<p>****</p>'],
  ['`**not bold** <b>`', '<p><code>**not bold** &lt;b&gt;</code></p>'],
  ['<b>not bold</b> &amp;', '<p>&lt;b&gt;not bold&lt;/b&gt; &amp;amp;</p>'],
  ['```\nlet a = **1**\n\n  b\n```\nafter', '<pre><code>let a = **1**\n\n  b</code></pre><p>after</p>'],
  ['```x = 1```', '<p><code>x = 1</code></p>'],
  ['```x = 1\ny = 2```', '<p>```x = 1<br>y = 2```</p>'],
  ['```hello', '<p>```hello</p>'],
  ['```hello\n```', '<p>```hello</p><pre><code></code></pre>'],
  ['```c++ main.cpp\nint x;\n```\nafter', '<pre><code>c++ main.cpp\nint x;</code></pre><p>after</p>'],
  ['```c++ main.cpp\nint x;', '<p>```c++ main.cpp<br>int x;</p>'],
  ['```\n```js\n```', '<pre><code>```js</code></pre>'],
  ['```\na\n```b', '<pre><code>a\n```b</code></pre>'],
  ['``a ` b``', '<p><code>a ` b</code></p>'],
  ['```js\nnever closed', '<pre><code>never closed</code></pre>'],
  ['> said\n> so\nanswer', '<blockquote>said<br>so</blockquote><p>answer</p>'],
  ['- a\n- **b**\n\n1. c\n2. d', '<ul><li>a</li><li><strong>b</strong></li></ul><ol><li>c</li><li>d</li></ol>'],
  ['7. seven', '<ol start="7"><li>seven</li></ol>'],
  ['-no list', '<p>-no list</p>'],
  ['see https://example.org.', '<p>see <a href="https://example.org">https://example.org</a>.</p>'],
  ['(https://example.org/a_(b))', '<p>(<a href="https://example.org/a_(b)">https://example.org/a_(b)</a>)</p>'],
  ['HTTP://EXAMPLE.org/x', '<p><a href="HTTP://EXAMPLE.org/x">HTTP://EXAMPLE.org/x</a></p>'],
  ['xhttp://example.org', '<p>xhttp://example.org</p>'],
  ['http://', '<p>http://</p>'],
  ['javascript:alert(1) ftp://x/ data:x', '<p>javascript:alert(1) ftp://x/ data:x</p>'],
  ['https://example.org/*a*', '<p><a href="https://example.org/*a">https://example.org/*a</a>*</p>'],
  ['**https://example.org/a**', '<p><strong><a href="https://example.org/a">https://example.org/a</a></strong></p>'],
  ['@bob @Bob, @ann.lee. @nobody a@bob', '<p><span class="at">@bob</span> <span class="at">@Bob</span>, <span class="at">@ann.lee</span>. @nobody a@bob</p>'],
  ['@alice', '<p><span class="at you">@alice</span></p>'],
]

test('every text has its one reading', async () => {
  for (const [text, html] of TABLE) assert.equal(await read(text), html, JSON.stringify(text))
})

test('no mark loses or adds a letter, whatever is typed', async () => {
  const pieces = ['*', '**', '_', '__', '`', '```', '\n', '\n\n', '> ', '- ', ' ', 'a', 'é', '👍', '@', '@bob', 'https://x.org/', '(', ')', '.', '<b>', '&', '\u202e']
  const lines = Array.from({ length: 300 }, () => Array.from({ length: 1 + random.below(25) }, () => random.pick(pieces)).join(''))
  const bad = await page.evaluate(async all => {
    const { blocks } = await import(document.querySelector('link[rel=modulepreload][href$="/text.js"]').href)
    const letters = s => s.replace(/[^\p{L}\p{N}👍@&<]/gu, '')
    const found = []
    for (const text of all) {
      const div = document.createElement('div')
      div.append(...blocks(text, () => null))
      // The language of code is not shown; where there is no code it is none.
      let readings = new Set([''])
      for (const line of text.split('\n')) {
        const withIt = [...readings].map(r => r + letters(line))
        readings = new Set(/^\s{0,3}```[\w+#.-]+\s*$/.test(line) ? [...withIt, ...readings] : withIt)
      }
      if (!readings.has(letters(div.textContent))) found.push([text, div.innerHTML])
      if (div.querySelector('script,b,img,style')) found.push([text, 'an element of the text'])
    }
    return found
  }, lines)
  assert.deepEqual(bad, [], `SEED=${seed}`)
})

test('no text of 4,000 characters takes long', async () => {
  const hostile = ['*a', '**a', '_a ', '`a', '`', '*', '_', '* ', '@a', '@', 'https://a.b/', 'http', '(', '>', '> ', '- ', '1. ', '[', '**a*', '_a_b', ')', 'https://a.b/)', '\n', '```\n', ' ', '*`_']
  const slow = await page.evaluate(async all => {
    const { blocks } = await import(document.querySelector('link[rel=modulepreload][href$="/text.js"]').href)
    const found = []
    for (const piece of all) {
      const text = piece.repeat(Math.ceil(4000 / piece.length)).slice(0, 4000)
      const start = performance.now()
      blocks(text, () => null)
      const ms = performance.now() - start
      if (ms > 150) found.push([piece, Math.round(ms)])
    }
    return found
  }, hostile)
  assert.deepEqual(slow, [])
})

test('no page did anything wrong by itself', clean)
