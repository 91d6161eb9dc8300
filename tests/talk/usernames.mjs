// Promise: what a username may be, and that two people never have names that look or fold alike (PROTOCOL §2.3).

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PASSWORD, call, http, login, refused, register } from '../support/client.mjs'
import { startServer, temporary } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const words = join(temporary(), 'words')
writeFileSync(words, '# the words of this test\ngrumble\n')
const server = await startServer({ args: ['--stop-words', words] })

test('letters and digits of any script, and _ - . inside', async () => {
  for (const name of ['a', 'Bob', '9lives', 'x_y-z.w', 'юзер', '李小龙', 'Ünïcode', 'مريم', 'ᛒᚢᛒ', 'q'.repeat(32), '界'.repeat(32), '٣three']) {
    const person = await register(server, name)
    assert.equal((await login(server, name)).user.username, person.user.username)
  }
})

for (const name of ['', '_a', '-a', '.a', 'a.', 'a b', 'q'.repeat(33), '界'.repeat(33), 'a@b', 'a/b', 'a\\b', 'a\u0000b', 'a\nb', 'a\u200db', 'a\u202eb', 'a\u00adb',
  '😀', 'a😀', '<b>', 'a&b', '"a"', "a'b", '%41x', '../etc', '\u0301a']) {
  test(`${JSON.stringify(name)} is bad_username`, async () => {
    const res = await http(server, 'POST', '/api/register', { json: { username: name, password: PASSWORD } })
    if (/\u0000/.test(name) && res.status === 400) return // a NUL may already be refused as JSON text
    assert.equal(res.status, 422, `${res.status} ${res.text}`)
    assert.equal(res.json.error, 'bad_username')
  })
}

for (const [first, ...same] of [
  ['Straße', 'STRASSE', 'strasse', 'straße'],
  ['fish', 'ﬁsh', 'FISH'],
  ['Bobby', 'Ｂobby', 'bobby', 'ＢＯＢＢＹ'],
  ['ωmega', 'Ωmega', '\u2126mega'],
  ['kelvin', '\u212aelvin'],
  ['caf\u00e9', 'CAF\u00c9'],
]) {
  test(`${first} is the same name as ${same.join(', ')}`, async () => {
    await register(server, first)
    for (const name of same) {
      await refused(server, 'POST', '/api/register', { json: { username: name, password: PASSWORD } }, 409, 'name_taken')
    }
  })
}

test('a stop word is refused as username and display name, as a whole word only', async () => {
  await refused(server, 'POST', '/api/register', { json: { username: 'grumble', password: PASSWORD } }, 422, 'stop_word')
  await refused(server, 'POST', '/api/register', { json: { username: 'GRUMBLE', password: PASSWORD } }, 422, 'stop_word')
  await refused(server, 'POST', '/api/register', { json: { username: 'ｇrumble', password: PASSWORD } }, 422, 'stop_word')
  const person = await register(server, 'grumbler')
  await refused(server, 'PATCH', '/api/me', { token: person.token, json: { display_name: 'Mr Grumble' } }, 422, 'stop_word')
  const me = await call(server, 'GET', '/api/me', { token: person.token }, 200)
  assert.equal(me.user.warnings, 0, 'without a warning')
})
