// Dialogs about rooms: make one, find one to join, and all about the one in view: name and topic, its people, invite,
// leave. Loaded when the first of them opens. The server decides who may; the page only offers what has a chance.
import { h, fill, put, icon, button, hidden, avatar, nameOf, alertBox, wrong, filled, lamp } from './dom.js';
import { call, sentence } from './api.js';
import { modal, confirm } from './dialog.js';
import { state, on, room, user, isMe, shared, takeRoom } from './store.js';
import { loadMembers } from './people.js';
import { topicOf } from './rooms.js';
import { count } from './format.js';

// A form whose button works once at a time and whose failures are said above it; most are about its first field.
function form(fields, label, work, cls = 'go') {
  const errors = h('div');
  const submit = h('button', { class: `btn ${cls}` }, label);
  const node = h('form', { novalidate: true }, errors, fields, h('div', { class: 'row end' }, submit));
  node.addEventListener('submit', async (e) => {
    e.preventDefault();
    if (submit.disabled || !filled(node, errors)) return;
    submit.disabled = true;
    try { await work(node); } catch (error) {
      wrong(/name|stop_word|not_found/.test(error.code) ? node.querySelector('input') : null, errors, sentence(error, {
        name_taken: 'There is a room of that name already.', not_found: 'Nobody here has that username. Check its spelling.' }));
    }
    submit.disabled = false;
  });
  return node;
}

let ids = 0;
function field(label, attributes, hint) {
  const id = 'f' + ++ids;
  return h('div', { class: 'f' }, h('label', { for: id }, label), h('input', { id, dir: 'auto', autocomplete: 'off', 'aria-describedby': hint && id + 'h', ...attributes }),
    hint && h('small', { id: id + 'h' }, hint));
}

// Goes to a room as soon as the log has brought it.
function enter(id, tries = 50) {
  if (state.rooms.has(id)) {
    // Once the page has turned to it one can write at once; where a screen keyboard would cover the room, one reads first.
    addEventListener('hashchange', () => document.querySelector(matchMedia('(pointer:fine)').matches ? '#box' : '.log').focus(), { once: true });
    if (location.hash === '#r' + id) dispatchEvent(new Event('hashchange'));
    else location.hash = '#r' + id;
  } else if (tries) setTimeout(() => enter(id, tries - 1), 100);
}

export function create() {
  const node = form([
    field('Name', { name: 'name', required: true, 'data-need': 'Give the room a name.', maxlength: 64, autofocus: true }, 'Letters, digits, spaces, _, - and .'),
    field('Topic', { name: 'topic', maxlength: 250 }, 'What it is for. It can be left empty.'),
    h('label', { class: 'pick f' }, h('input', { type: 'checkbox', name: 'private' }), h('span', null, 'Private: only those who are invited see it')),
  ], 'Create room', async (f) => {
    const data = await call('POST', '/api/rooms', { name: f.elements.name.value.trim(), topic: f.elements.topic.value.trim(), private: f.elements.private.checked });
    d.close();
    enter(data.room.id);
  });
  const d = modal('New room', h('div', { class: 'in' }, node));
}

export async function find() {
  const body = h('div', { class: 'in', tabindex: 0, role: 'group', 'aria-label': 'Rooms to join' }, h('p', { class: 'soft' }, 'Looking…'));
  const d = modal('Find a room', body);
  try {
    const open = (await call('GET', '/api/rooms')).rooms.filter((r) => !r.joined && !state.rooms.has(r.id) && r.kind !== 'direct');
    open.sort((a, b) => a.name.localeCompare(b.name));
    if (!open.length) { fill(body, h('p', null, 'You are in every public room there is. Private rooms do not show here: somebody in them can invite you.')); return; }
    const errors = h('div');
    fill(body, errors, h('ul', null, open.map((r) => h('li', { class: 'row f' }, icon('box'),
      h('span', { class: 'grow cut' }, h('b', { dir: 'auto' }, r.name), h('br'), h('small', { dir: 'auto' }, r.topic || `${count(r.members)} ${r.members === 1 ? 'person' : 'people'}`)),
      button('Join', async (e) => {
        e.target.disabled = true;
        try {
          await call('POST', `/api/rooms/${r.id}/members`, { username: state.me.username });
          d.close();
          enter(r.id);
        } catch (error) { e.target.disabled = false; fill(errors, alertBox(sentence(error))); }
      }, '', { 'aria-label': `Join ${r.name}` })))));
  } catch (error) { fill(body, alertBox(sentence(error))); }
}

// All about a room goes with the room, the question whether to leave it first.
let shown = null;
on('left', (r) => { if (shown && shown.id === r.id) for (const close of [shown.unask, shown.close]) if (close) close(); });

export function about() {
  const r = room();
  const mine = isMe(r.owner) || state.me.role === 'admin';
  const errors = h('div');
  const list = h('ul');
  const fail = (error) => { fill(errors, alertBox(sentence(error, { not_found: 'There is nobody of that name.' }))); errors.scrollIntoView({ block: 'nearest' }); };
  const parts = [errors];
  if (mine) parts.push(h('section', null, form([
    field('Name', { name: 'name', required: true, 'data-need': 'A room needs a name.', maxlength: 64, value: r.name }), field('Topic', { name: 'topic', maxlength: 250, value: r.topic || '' }),
  ], 'Save', async (f) => {
    const data = await call('PATCH', `/api/rooms/${r.id}`, { name: f.elements.name.value.trim(), topic: f.elements.topic.value.trim() });
    if (data && data.room) takeRoom({ rev: data.room.rev, room: shared(data.room) }); // to have joined it is the log's to tell
    d.close();
  })));
  else parts.push(h('section', null, h('p', { dir: 'auto' }, topicOf(r) || 'No topic yet.')));
  if (r.id !== 1) {
    const people = h('section', null, h('h3', null, 'People in this room'), list);
    if (!r.archived) put(people, form([field('Add somebody', { name: 'who', required: true, 'data-need': 'Enter a username.', maxlength: 32, list: 'all-people', autocapitalize: 'none', spellcheck: 'false' }, 'Their username.'),
      h('datalist', { id: 'all-people' }, [...state.users.values()].filter((u) => !u.deleted).slice(0, 300).map((u) => h('option', { value: u.username }, nameOf(u))))],
    'Add', async (f) => {
      await call('POST', `/api/rooms/${r.id}/members`, { username: f.elements.who.value.trim().replace(/^@/, '') });
      f.reset();
      await loadMembers(r.id);
      draw();
    }, ''));
    parts.push(people, h('section', null, h('div', { class: 'row wrap' },
      button('Leave room', async () => {
        if (!(await confirm(`Leave ${r.name}?`, r.private ? 'You will not see it any more until somebody in it invites you again.' : 'Its messages go from this page. You can join again.', 'Leave', (close) => { shown.unask = close; }))) return;
        r.leaving = true;       // by one's own hand in this tab: nobody has to tell us
        try { await call('DELETE', `/api/rooms/${r.id}/members/${encodeURIComponent(state.me.username)}`); d.close(); } catch (error) { r.leaving = false; fail(error); }
      }, 'bad'),
      mine && button(r.archived ? 'Open it again' : 'Archive room', async () => {
        try { await call('PATCH', `/api/rooms/${r.id}`, { archived: !r.archived }); d.close(); } catch (error) { fail(error); }
      }))));
  }
  const d = modal(r.name, h('div', { class: 'in', tabindex: 0, role: 'group', 'aria-label': 'About this room' }, parts));
  shown = { id: r.id, close: d.close };
  const draw = () => fill(list, (state.members.get(r.id) || []).map(user).map((u) => h('li', { class: 'row f' }, avatar(u, false, lamp(state.online.has(u.username))),
    h('span', { class: 'grow cut' }, h('b', { dir: 'auto' }, nameOf(u)), hidden(state.online.has(u.username) ? ' (online)' : ' (offline)'), h('br'), h('small', null, h('bdi', null, '@' + u.username), u.username === r.owner && ' · Owner')),
    mine && !isMe(u.username) && button('Remove', async () => {
      try {
        await call('DELETE', `/api/rooms/${r.id}/members/${encodeURIComponent(u.username)}`);
        await loadMembers(r.id);
        draw();
      } catch (error) { fail(error); }
    }, '', { 'aria-label': `Remove ${u.username}` }))));
  draw();
  if (r.id !== 1) loadMembers(r.id).then(draw);
}
