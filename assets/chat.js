// The chat page's beginning and its middle: it starts the modules, hands each frame to whom it concerns, and keeps
// what belongs to the page as a whole: the lamp and the banner, who is typing, the tab's title, read marks, keys.
import { $, h, fill, button, picture } from './dom.js';
import { plain, count } from './format.js';
import * as store from './store.js';
import { call } from './api.js';
import * as socket from './socket.js';
import * as outbox from './outbox.js';
import * as log from './log.js';
import * as hand from './hand.js';
import * as composer from './composer.js';
import * as people from './people.js';
import * as rooms from './rooms.js';
import * as account from './account.js';
import { anyOpen, confirm } from './dialog.js';
import { oneLine } from './text.js';

const { state, on } = store;
const { link } = socket;

// Each kind of frame and what is done with it.
const FRAMES = {
  welcome(f) {
    store.welcome(f);
    outbox.open(state.me.username);
    if (!f.resumed) {
      people.loadAll();
      rooms.go(rooms.fromHash());
    } else if (!store.room()) rooms.go(1);
  },
  ready(f) {
    if (f.online) store.takePresence(f);
    else people.loadOnline();
    const r = store.room();
    if (r && !r.loaded) askHistory(r.id);
    outbox.adopt();
    outbox.pump();
    log.reread();
  },
  history: store.takeHistory,
  message(f) {
    store.takeMessage(f);
    outbox.acknowledge(f);
    stopTyping(f.room, f.sender);
  },
  room: store.takeRoom,
  user: (f) => store.takeUser({ ...f.user, rev: f.rev }),
  seen: store.takeSeen,
  presence: store.takePresence,
  typing: (f) => startTyping(f.room, f.user),
  warning(f) {
    const entry = outbox.refuse(f);
    if (entry || !f.ref) composer.warned(f, entry);
  },
  blocked: () => gone('blocked'),
  error(f) {
    outbox.refuse(f);
    // What answers a message or a request has been dealt with; of the rest only a fault of this page is worth a word.
    if (!f.nonce && !f.ref && /^bad_|^unknown/.test(f.code)) composer.say('The server did not understand this page:', ` ${f.message || f.code}`);
  },
};

function start() {
  log.start(readUpTo);
  hand.start(act);
  composer.start();
  people.start();
  account.start();
  rooms.start(() => {
    rooms.head();
    composer.show();
    people.show();
    log.show();
    drawTyping();
    title();
    if (matchMedia('(pointer:fine)').matches && document.activeElement && document.activeElement.closest('#rooms')) $('#box').focus();
  });
  on('room rooms', () => { rooms.head(); title(); });
  // What everybody hears of at once not everybody asks about at once.
  on('unsure', (spread = 0) => { clearTimeout(asking); asking = setTimeout(askCounts, 1000 + Math.random() * spread); });
  on('joined', (id) => { if (link.state === 'up') askHistory(id); });
  $('#retry').addEventListener('click', () => socket.now());
  document.addEventListener('keydown', keys);
  addEventListener('focus', () => { log.reread(); title(); });
  document.addEventListener('visibilitychange', () => { log.reread(); });
  socket.start({
    frame(f, of) { if (!$('#blocked') && Object.prototype.hasOwnProperty.call(FRAMES, f.type)) FRAMES[f.type](f, of); },
    change: connection,
    gone,
  });
}

const askHistory = (room) => socket.request({ type: 'history', room, limit: 50 }, store.room(room)).catch(() => {});

// Another device of ours reads what is not held here: when it rests, the server says what is left.
let asking = 0;
const askCounts = () => call('GET', '/api/rooms').then((d) => store.takeCounts(d.rooms), () => {});

// The lamp, the word and the banner. The countdown stands outside the status, or a screen reader would count along.
let shownState = '';
function connection() {
  if ($('#blocked')) return;
  const up = link.state === 'up';
  const away = !up && navigator.onLine === false;
  const word = up ? 'Connected' : away ? 'Offline' : link.tried ? 'Reconnecting…' : 'Connecting…';
  if (word !== shownState) {
    shownState = word;
    const conn = $('#conn');
    conn.className = up ? 'conn on' : away ? 'conn' : 'conn half';
    fill(conn, h('span', { class: up ? 'lamp on' : away ? 'lamp' : 'lamp half', 'aria-hidden': 'true' }), word);
    store.emit('presence');
    if (up) { composer.reconnected(); outbox.pump(); }
  }
  if (!up) {
    if (/1009/.test(link.problem)) outbox.failFlying('too large for the server');
    else outbox.cut();
  }
  $('#banner').hidden = up || !link.tried;
  if (up || !link.tried) return;
  const seconds = Math.max(0, Math.ceil((link.due - performance.now()) / 1000));
  $('#banner b').textContent = link.problem || `No connection to ${location.host}.`;
  $('#wait').textContent = `${link.state === 'connecting' ? 'Trying…' : `Next try in ${seconds} s.`} What you write waits here and goes out in order.`;
}

// The session has ended, or the account is blocked: the page says so and offers only what is left to do.
function gone(why) {
  if (why === 'ended') {
    composer.saveDraft();
    // The door says why one is there, and leads back to the room in view, unless one has just logged out oneself.
    if (!account.leaving()) try { sessionStorage.setItem('cb.ended', '1'); } catch (e) { /* then it says nothing */ }
    location.replace('/login' + (account.leaving() ? '' : location.hash));
    return;
  }
  if ($('#blocked')) return;
  const words = 'You can no longer read or write here. An administrator can open the account again.';
  document.title = 'Account blocked · ChatterBox';
  const page = h('main', { class: 'page' }, h('div', { class: 'gate', id: 'blocked' }, picture('wordmark', 'word f', '0 0 236 48'),
    h('div', { role: 'alert' }, h('h1', { class: 'f' }, 'This account is blocked'), h('p', { class: 'f' }, words)),
    h('div', { class: 'host f' }, h('span', { class: 'lamp', 'aria-hidden': 'true' }), h('span', { class: 'grow' }, h('b', null, state.server), h('br'), h('small', { dir: 'ltr' }, location.origin))),
    button('Log out', account.logout)));
  fill(document.body, page);
}

// Read marks: only what was in view in a visible, focused page; at most one a second and room.
const marks = new Map();      // room → {at, timer, id}
function readUpTo(r, id) {
  if (id <= r.seen || link.state !== 'up') return;
  r.seen = id;
  store.recount(r);
  title();
  const m = marks.get(r.id) || { at: -1000, timer: 0, id: 0 };
  marks.set(r.id, m);
  m.id = id;
  if (m.timer) return;
  const go = () => {
    m.timer = 0;
    m.at = performance.now();
    socket.send({ type: 'seen', room: r.id, id: m.id });
  };
  const wait = m.at + 1000 - performance.now();
  if (wait <= 0) go();
  else m.timer = setTimeout(go, wait);
}

// Who is typing, for 5 s after the last sign of it.
const typists = new Map();    // room → Map(name → timer)
function startTyping(id, name) {
  if (store.isMe(name)) return;
  const here = typists.get(id) || new Map();
  typists.set(id, here);
  clearTimeout(here.get(name));
  here.set(name, setTimeout(() => stopTyping(id, name), 5000));
  drawTyping();
}
function stopTyping(id, name) {
  const here = typists.get(id);
  if (!here || !here.has(name)) return;
  clearTimeout(here.get(name));
  here.delete(name);
  drawTyping();
}
function drawTyping() {
  const names = [...(typists.get(state.room) || new Map()).keys()];
  const list = names.slice(0, 2).map((n, i) => [i ? (names.length > 2 ? ', ' : ' and ') : '', h('bdi', null, n)]).flat();
  if (names.length > 2) list.push(` and ${names.length - 2} more`);
  const line = $('#typing');
  if (!line) return;          // the account has been blocked meanwhile
  const text = h('span', null, list, names.length > 1 ? ' are typing…' : ' is typing…');
  if (line.textContent === (names.length ? text.textContent : '')) return;
  fill(line, names.length > 0 && [h('span', { class: 'dots', 'aria-hidden': 'true' }), text]);
}

function title() {
  if ($('#blocked')) return;
  let n = 0;
  for (const r of state.rooms.values()) n += r.unread;
  const r = store.room();
  document.title = `${n ? `(${n >= 999 ? '999+' : count(n)}) ` : ''}${r ? plain(r.name) + ' · ' : ''}ChatterBox`;
}

// What a tool of a message does.
async function act(what, item) {
  const m = item.m;
  if (what === 'reply') composer.reply(m);
  else if (what === 'edit') composer.edit(m);
  else if (await confirm('Delete this message?', [h('p', { class: 'quote cut f' }, h('bdi', null, oneLine(m.text))),
    h('p', null, 'Its text is gone for good, for everybody. That it was deleted stays visible.')], 'Delete')) {
    try { await socket.request({ type: 'delete', id: m.id }); } catch (e) {
      composer.say('It was not deleted:', e.code === 'closed' ? ' there is no connection.' : ` ${e.message || e.code}`, e.code === 'closed');
    }
  }
}

function keys(e) {
  if (e.defaultPrevented || e.ctrlKey || e.metaKey || $('#blocked')) return;
  const at = document.activeElement;
  const writing = at && (/^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) || at.isContentEditable);
  if (e.altKey) {
    if (anyOpen()) return;
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') { e.preventDefault(); rooms.step(e.key === 'ArrowDown' ? 1 : -1); }
    else if (e.code === 'KeyN') { e.preventDefault(); log.toUnread(true); }
    return;
  }
  if (writing || anyOpen()) return;
  if (e.key === '?') {
    e.preventDefault();
    composer.lazy(import('./keys.js'), (m) => m.open(), true);
  } else if ((at === document.body || at === $('.log')) && [...e.key].length === 1 && e.key !== ' ') {
    // Somebody just begins to write: the letter goes into the box.
    $('#box').focus();
  }
}

start();
