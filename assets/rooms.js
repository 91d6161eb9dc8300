// The list of rooms: which one is in view, how much is unread in the others. The address of a room is the fragment
// #r and its number, so that the browser's own back and forward work. Dialogs about rooms are in room.js.
import { $, h, fill, icon, button, hidden, pressed } from './dom.js';
import { count } from './format.js';
import { state, on, room } from './store.js';
import { lazy } from './composer.js';
import { modal } from './dialog.js';

const list = $('#rooms');
const app = $('.app');
const back = $('#back');
let opened = () => {};

export function start(onOpen) {
  opened = onOpen;
  addEventListener('hashchange', () => go(fromHash()));
  on('rooms', draw);
  on('left', left);
  back.addEventListener('click', () => { app.dataset.pane = 'rooms'; const at = list.querySelector('[aria-current]'); if (at) at.focus(); });
  for (const [id, what] of [['#new-room', 'create'], ['#find-room', 'find'], ['#room-button', 'about']])
    $(id).addEventListener('click', () => lazy(import('./room.js'), (m) => m[what]()));
  list.addEventListener('click', (e) => {
    const link = e.target.closest('a');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
    app.dataset.pane = 'chat';
    // The same room again: there is no hashchange to bring it to view.
    if (Number(link.dataset.id) === state.room) { e.preventDefault(); opened(); }
  });
}

export function fromHash() {
  const m = /^#r(\d{1,15})$/.exec(location.hash);
  return m ? Number(m[1]) : 1;
}

export function go(id) {
  if (!state.rooms.has(id)) id = state.rooms.has(1) ? 1 : [...state.rooms.keys()][0];
  if (id === undefined) return;
  state.room = id;
  app.dataset.pane = 'chat';
  draw();
  opened();
}

// The room in view is gone. What one types at this moment was meant for that room and must not go on into the lobby, where
// everybody reads it: a dialog takes the keys, and neither a letter nor Enter nor the space bar closes it.
function left(r) {
  if (r.id !== state.room) return;
  location.hash = '#r1';
  go(1);
  if (r.leaving) return;
  const lobby = h('bdi', null, room().name);
  const d = modal(`You are no longer in ${r.name}`, h('div', { class: 'in', tabindex: 0, autofocus: true },
    h('p', { class: 'f' }, 'You were removed from it, or have left it in another window. What you had begun to write there was not sent.'),
    h('p', null, 'You are now in ', lobby, '. Everybody reads what is written there.')), { actions: [button('Go on', () => d.close(), 'go')] });
}

const sorted = () => [...state.rooms.values()].filter((r) => r.kind !== 'direct').sort((a, b) =>
  (b.id === 1) - (a.id === 1) || Boolean(a.archived) - Boolean(b.archived) || a.name.localeCompare(b.name));

// Alt and an arrow: the next room with something unread, or just the next one.
export function step(dir) {
  const all = sorted();
  const at = all.findIndex((r) => r.id === state.room);
  const around = all.map((_, i) => all[(at + dir * (i + 1) + all.length * 2) % all.length]);
  const next = around.find((r) => r.unread && r.id !== state.room) || around[0];
  if (next && next.id !== state.room) location.hash = '#r' + next.id;
}

// How much is unread, as a badge and in words.
const many = (n) => (n >= 999 ? '999+' : count(n));
const words = (n, mentions) => `${many(n)} unread${mentions ? `, ${count(mentions)} ${mentions === 1 ? 'mention' : 'mentions'}` : ''}`;
function badge(n, mentions) {
  if (!n) return null;
  return h('span', { class: mentions ? 'n at' : 'n' }, h('span', { 'aria-hidden': 'true', dir: 'ltr' }, mentions ? '@' + count(mentions) : many(n)),
    hidden(' ' + words(n, mentions)));
}

// On a phone the list is behind the room: its button tells what is unread in the others.
function drawBack() {
  const others = sorted().filter((r) => r.id !== state.room);
  const sum = (what) => others.reduce((n, r) => n + r[what], 0);
  const [n, mentions] = [sum('unread'), sum('mentions')];
  back.setAttribute('aria-label', 'Back to rooms' + (n ? ', ' + words(n, mentions) : ''));
  fill(back, icon('back', true), badge(n, mentions));
}

function draw() {
  drawBack();
  if (pressed(list, draw)) return;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  fill(list, sorted().map((r) => {
    return h('li', null, h('a', { class: r.unread ? 'it un' : 'it', href: '#r' + r.id, 'data-id': r.id, 'aria-current': r.id === state.room && 'page', title: r.name },
      icon(r.private ? 'lock' : 'box'), h('span', { class: 'cut' }, h('span', { dir: 'auto' }, r.name),
        r.private && hidden(' (private)'), r.archived && h('small', null, 'archived')), badge(r.unread, r.mentions)));
  }));
  if (focused) { const a = list.querySelector(`[data-id="${focused}"]`); if (a) a.focus({ preventScroll: true }); }
}

export const topicOf = (r) => r.topic || (r.id === 1 ? 'Everyone who joins starts here.' : r.private ? 'A private room.' : '');

// The head of the chat: name, topic, and the button for what can be done with the room.
export function head() {
  const r = room();
  if (!r) return;
  $('#room-name').textContent = $('#room-name').title = r.name;
  $('#topic').textContent = topicOf(r);
}
