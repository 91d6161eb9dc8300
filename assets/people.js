// The people beside the chat: everybody in the lobby, the members in any other room; online first, with a lamp that
// is filled or hollow and a word for those who hear the page. A click puts the name into the message.
import { $, h, fill, hidden, pressed, lamp, avatar, nameOf, button, recall, keep } from './dom.js';
import { count } from './format.js';
import { state, on, room, user, takeUser, takePresence, isMe, emit, membersOf } from './store.js';
import { pages } from './api.js';
import { onBack } from './dialog.js';
import { link } from './socket.js';
import { mention } from './composer.js';

const STEP = 100;             // people shown before one asks for more

const app = $('.app');
const panel = $('.people');
const list = $('#people');
const toggle = $('#people-button');
const wide = matchMedia('(min-width:68.75em)');
let shown = STEP;
let waiting = false;
let forget = () => {};

export function start() {
  toggle.addEventListener('click', () => setOpen(!isOpen(), true));
  $('#people-close').addEventListener('click', () => { setOpen(false, true); toggle.focus(); });
  document.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape' || e.defaultPrevented || wide.matches || app.dataset.pane !== 'people') return;
    setOpen(false);
    toggle.focus();
  });
  document.addEventListener('pointerdown', (e) => {
    if (!wide.matches && app.dataset.pane === 'people' && !panel.contains(e.target) && !toggle.contains(e.target)) setOpen(false);
  });
  // Where the panel covers the chat it closes when the focus goes on, or that would be hidden behind it.
  document.addEventListener('focusin', (e) => { if (!wide.matches && app.dataset.pane === 'people' && !panel.contains(e.target)) setOpen(false); });
  if (wide.addEventListener) wide.addEventListener('change', settle);
  on('users presence welcome members', schedule);
  on('room', (id) => { if (id === state.room) loadMembers(); });
  // Nobody is told of who else joins a room: a word from somebody new, or another look, brings the list up to date.
  on('message', ({ room, message }) => {
    const held = state.members.get(room.id);
    if (room.id === state.room && held && !held.includes(message.sender)) loadMembers();
  });
  addEventListener('focus', () => loadMembers());
  settle();
}

// On a wide screen the panel stands beside the chat unless it was closed; elsewhere it slides over.
function settle() {
  forget();
  if (app.dataset.pane === 'people') app.dataset.pane = 'chat';
  place(wide.matches ? recall('cb.people') !== 'closed' : true);
  tell();
}

function place(there) {
  if (there && !panel.isConnected) app.append(panel);
  else if (!there) panel.remove();
}

const isOpen = () => (wide.matches ? panel.isConnected : app.dataset.pane === 'people');
const tell = () => toggle.setAttribute('aria-expanded', String(isOpen()));

function setOpen(open, byHand) {
  if (wide.matches) {
    place(open);
    if (byHand) keep('cb.people', open ? null : 'closed');
  } else {
    app.dataset.pane = open ? 'people' : 'chat';
    forget();
    forget = open ? onBack(() => { setOpen(false); toggle.focus(); }) : () => {};
  }
  tell();
  if (open && byHand && !wide.matches) $('#people-close').focus();
}

export function show() {
  shown = STEP;
  forget();
  tell();
  loadMembers();
  draw();
}

// Everybody, a page at a time; names that come later by the log replace older ones.
export async function loadAll() {
  try {
    for (const u of await pages('/api/users', 'users', (u) => u.username)) takeUser(u);
  } catch (e) { /* names stay usernames; the next connection asks again */ }
}

// One look after another; one that has not begun yet serves all who ask meanwhile.
let flight = Promise.resolve();
let queued = 0;
export function loadMembers(id = state.room) {
  if (id === 1 || queued === id) return flight;
  queued = id;
  flight = flight.then(async () => {
    if (queued === id) queued = 0;
    if (!state.rooms.has(id)) return;
    try {
      const members = await pages(`/api/rooms/${id}/members`, 'members', (u) => u.username);
      for (const u of members) takeUser(u);
      state.members.set(id, members.map((u) => u.username));
      emit('members', id);
    } catch (e) { /* the room is gone or the line is: what is shown stays */ }
  });
  return flight;
}

// With very many people the socket tells only how many are there: who, is asked for.
export async function loadOnline() {
  try { takePresence({ type: 'ready', online: (await pages('/api/users?online=1', 'users', (u) => u.username)).map((u) => u.username) }); } catch (e) { /* later changes still come */ }
}

function schedule() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => { waiting = false; draw(); }, 60);
}

// person2 before person10. One collator for all: to make one for each pair is slow with many people.
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' }).compare;

// While the link is down nobody knows who is there: the lamps are half lit and the words say when it was so.
function draw() {
  if (!state.me || pressed(list, draw)) return;
  const people = membersOf(state.room).map(user).filter((u) => !u.deleted);
  people.sort((a, b) => order(nameOf(a), nameOf(b)));
  const here = people.filter((u) => state.online.has(u.username));
  const away = people.filter((u) => !state.online.has(u.username));
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.name;
  fill(list, group(link.state === 'up' ? 'Online' : 'Last seen online', here, shown), away.length ? group('Offline', away, Math.max(0, shown - here.length)) : null,
    people.length > shown && button(`Show more of ${count(people.length)}`, () => { shown += 2 * STEP; draw(); }));
  if (focused) for (const b of list.querySelectorAll('[data-name]')) if (b.dataset.name === focused) b.focus({ preventScroll: true });
}

const group = (name, people, most) => [h('h3', { class: 'cap' }, `${name} ${count(people.length)}`), h('ul', null, people.slice(0, most).map(entry))];

const ROLES = { admin: 'Administrator', moderator: 'Moderator' };
function entry(u) {
  const on = state.online.has(u.username) && (link.state === 'up' || 'half');
  const r = room();
  const roles = [isMe(u.username) && 'You', u.status, r && r.id !== 1 && r.owner === u.username && 'Owner', ROLES[u.role]].filter(Boolean);
  return h('li', null, h('button', { type: 'button', class: 'it', title: `Mention @${u.username}`, 'data-name': u.username,
    onclick: () => { if (!wide.matches) setOpen(false); mention(u.username); } }, avatar(u, false, lamp(on)),
  h('span', { class: 'cut' }, h('b', { dir: 'auto', title: nameOf(u) }, nameOf(u)), hidden(on === true ? ' (online)' : on ? ' (was online)' : ' (offline)'),
    h('small', null, h('bdi', null, '@' + u.username), roles.map((x) => [' · ', h('bdi', null, x)]).flat()))));
}
