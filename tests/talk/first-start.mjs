// Promise: while there is no administrator every start prints one link that makes one, at every --registration, once;
// on loopback nobody is warned of open registration (PROTOCOL §2.3).

import assert from 'node:assert/strict'
import { PASSWORD, call, http, refused, register, registerAdmin } from '../support/client.mjs'
import { startServer } from '../support/server.mjs'
import { test } from '../support/suite.mjs'

const links = server => server.log().match(/\S*\/register#invite=\S+/g) ?? []

for (const mode of ['open', 'invite', 'closed']) {
  test(`--registration ${mode}: the link is printed once and makes an administrator, once`, async () => {
    const server = await startServer({ args: ['--registration', mode] })
    assert.equal(links(server).length, 1, server.log())
    assert.ok(links(server)[0].startsWith(server.url), links(server)[0])
    const token = server.adminInvite()
    assert.ok(token.replaceAll('-', '').length >= 22, '128 random bits')
    await refused(server, 'POST', '/api/register', { json: { username: 'wrong', password: PASSWORD, invite: token.slice(0, -1) + (token.endsWith('0') ? '1' : '0') } }, 403, 'bad_invite')
    await refused(server, 'POST', '/api/register', { json: { username: 'weak', password: 'short', invite: token } }, 422, 'bad_password')
    const admin = await registerAdmin(server)
    assert.equal(admin.user.role, 'admin')
    await refused(server, 'POST', '/api/register', { json: { username: 'second', password: PASSWORD, invite: token } }, 403, 'bad_invite')
    await server.restart()
    assert.equal(links(server).length, 1, 'no new link while there is an administrator')
    await refused(server, 'POST', '/api/register', { json: { username: 'second', password: PASSWORD, invite: token } }, 403, 'bad_invite')
  })
}

test('the link of an earlier start is void, and so is any once there is an administrator', async () => {
  const server = await startServer()
  const first = server.adminInvite()
  await server.restart()
  const second = server.adminInvite()
  assert.notEqual(first, second)
  await refused(server, 'POST', '/api/register', { json: { username: 'early', password: PASSWORD, invite: first } }, 403, 'bad_invite')
  const { code, stderr } = await server.cli(['user', 'add', '--role', 'admin', 'boss'], { stdin: `${PASSWORD}\n` })
  assert.equal(code, 0, stderr)
  await refused(server, 'POST', '/api/register', { json: { username: 'late', password: PASSWORD, invite: second } }, 403, 'bad_invite')
  const plain = await register(server, 'plain')
  assert.equal(plain.user.role, 'user')
})

test('two who use the link at the same moment: one becomes administrator', async () => {
  const server = await startServer({ args: ['--registration', 'closed'] })
  const invite = server.adminInvite()
  const answers = await Promise.all(['one', 'two', 'three'].map(username => http(server, 'POST', '/api/register', { json: { username, password: PASSWORD, invite } })))
  assert.deepEqual(answers.map(r => r.status).sort(), [201, 403, 403])
})

test('on loopback open registration is not warned of', async () => {
  const server = await startServer()
  assert.ok(!/warning/i.test(server.log()), server.log())
})

test('the lobby is there, and nobody in it', async () => {
  const server = await startServer()
  const admin = await registerAdmin(server)
  const { rooms } = await call(server, 'GET', '/api/rooms', { token: admin.token })
  assert.deepEqual(rooms.map(r => [r.id, r.members, r.unread]), [[1, 1, 0]])
  assert.ok(rooms[0].name)
})
