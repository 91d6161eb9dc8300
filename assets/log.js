// The list of messages: a window of nodes over all that is held, so that ten thousand messages scroll as ten do.
// It owns the scroll position: at the end it follows what comes, elsewhere it stays on the words in view
// whatever is put in above them. It asks for older history near the top and says how far one has read.
import { $, h, fill, icon } from './dom.js';
import { hello } from './hello.js';
import { day, dayLabel, count } from './format.js';
import { state, on, room, isMe, find } from './store.js';
import { build, refresh, refreshSeen, signature, isFirst } from './message.js';
import * as outbox from './outbox.js';
import { request, link } from './socket.js';

const AROUND = 40;            // messages kept in the page on either side of those in view
const SLACK = 20;             // fewer than that beyond the edge of the view: the window moves
const OLDER = 20;             // fewer messages than that above the view: the next older page is asked for
const END = 48;               // nearer to the end than this, px, is at the end

const log = $('.log');
const top = h('div', { class: 'gap' });
const bottom = h('div', { class: 'gap' });
const jump = $('#jump');
const jumpUp = $('#unread');
let onRead = () => {};        // onRead(id): everything up to it has been in view

let items = [];
let range = [0, 0];
let nodes = new Map();        // key → {node, sig, extra: [separators before it]}
let heights = new Map();      // key → px, measured when it was in the page
let average = 56;
let follow = true;            // at the end, and staying there
let below = 0;                // messages that came while scrolled up
let gap = false;              // unread messages that were never in view lie before those held: nothing after them counts as read
let pending = false;
let coming = null;            // the older page on its way: {id: its room, page: what it will come to}
let quietTimer = 0;
let today = 0;
let width = 0;
let high = 0;                 // the list's size as resized() knows it
let place = 0;                // where it was scrolled to when it was shown last; Chromium knows it by itself, others forget
let behind = false;           // a phone's other pane is in front of it: it has no size and no place

export function start(read) {
  onRead = read;
  log.append(top, bottom);
  log.addEventListener('scroll', scrolled, { passive: true });
  jump.addEventListener('click', () => { toEnd(); $('#box').focus(); });
  jumpUp.addEventListener('click', () => toUnread(true));
  on('closed', after);
  on('message outbox users left room', (d) => { if (d && d.room && d.room.id !== state.room) return; arrived(d); schedule(); });
  on('seen', (f) => { if (f.room === state.room) ticks(); });
  on('history', (d) => { if (d.id === state.room) { if (d.first) opened(); else schedule(); } });
  if (typeof ResizeObserver === 'function') new ResizeObserver(resized).observe(log);
  setInterval(() => { if (today !== day(Date.now())) schedule(); }, 30000);
}

// Shows the room in view from the beginning: at the unread line if there is one, else at the end.
export function show() {
  nodes = new Map();
  heights = new Map();
  items = [];
  range = [0, 0];
  below = 0;
  follow = true;
  while (top.nextSibling !== bottom) top.nextSibling.remove();
  const r = room();
  if (!r) return;
  r.line = r.unread ? r.seen : null;
  if (!r.loaded && link.state === 'up') request({ type: 'history', room: r.id, limit: 50 }, r).catch(() => {});
  opened();
}

function opened() {
  const r = room();
  if (r && r.line === null && r.unread) r.line = r.seen;
  collect();
  quiet();
  render(Math.max(0, items.length - 2 * AROUND), items.length);
  log.scrollTop = log.scrollHeight;
  gap = Boolean(r) && r.line !== null && !lineKnown(r);
  if (r && !gap && firstUnread() >= 0) toUnread(false);
  after();
}

function collect() {
  const r = room();
  if (!r) { items = []; return; }
  const held = r.msgs;
  items = new Array(held.length);
  for (let i = 0; i < held.length; i++) items[i] = { key: 'm' + held[i].id, m: held[i], out: null };
  for (const out of outbox.waitingIn(r.id))
    items.push({ key: 'o' + out.nonce, out, m: { room: r.id, sender: state.me.username, text: out.text, time: out.time, reply: out.reply } });
}

export function schedule() {
  if (pending) return;
  pending = true;
  let done = false;
  const run = () => {
    if (done) return;
    done = true;
    pending = false;
    update();
  };
  requestAnimationFrame(run);
  setTimeout(run, 120);       // a page in the background gets no frames
}

// A message came: may the reader hear of it, does it count below, does the unread line begin here?
let spoken = false;
function arrived(d) {
  const m = d && d.message;
  if (!m || !d.isNew) return;
  const r = d.room;
  if (m.nonce && isMe(m.sender)) {
    // Our own word has come back: its nodes stay, only the tick changes.
    const entry = nodes.get('o' + m.nonce);
    if (entry) {
      nodes.delete('o' + m.nonce);
      nodes.set('m' + m.id, entry);
      entry.node.dataset.key = 'm' + m.id;
    }
    r.line = null;
  } else if (!isMe(m.sender) && m.id === r.msgs[r.msgs.length - 1].id) {
    spoken = true;
    const before = r.msgs[r.msgs.length - 2];
    if ((!follow || !present()) && (r.line === null || !before || r.seen >= before.id)) r.line = m.id - 1;
    if (!follow) below++;
  }
}

export const present = () => document.visibilityState === 'visible' && document.hasFocus();

function update() {
  const anchor = follow ? null : anchorNow();
  const say = spoken;
  spoken = false;
  const before = items.length;
  collect();
  if (!say || items.length < before) quiet();
  today = day(Date.now());
  if (follow) {
    render(Math.max(0, items.length - 2 * AROUND), items.length);
    log.scrollTop = log.scrollHeight;
  } else {
    const at = anchor ? indexOf(anchor.key) : -1;
    const a = at < 0 ? range[0] : Math.max(0, at - AROUND);
    render(a, Math.min(items.length, at < 0 ? range[1] : at + 2 * AROUND));
    restore(anchor);
  }
  after();
}

function indexOf(key) {
  if (key[0] === 'm') {
    const r = room();
    const at = find(r, Number(key.slice(1)));
    return at < r.msgs.length && items[at] && items[at].key === key ? at : -1;
  }
  return items.findIndex((i) => i.key === key);
}

// The first message in view and where it stands: the point that must not move.
function anchorNow() {
  const edge = log.getBoundingClientRect().top;
  for (let n = top.nextSibling; n !== bottom; n = n.nextSibling) {
    if (!n.dataset.key) continue;
    const box = n.getBoundingClientRect();
    if (box.bottom > edge) return { key: n.dataset.key, at: box.top - edge };
  }
  return null;
}

function restore(anchor) {
  const entry = anchor && nodes.get(anchor.key);
  if (!entry || !entry.node.isConnected) return;
  const moved = entry.node.getBoundingClientRect().top - log.getBoundingClientRect().top - anchor.at;
  if (Math.abs(moved) >= 1) log.scrollTop += moved;
}

// Puts items a..b into the page. Nodes that stay are not touched; what goes is measured first.
function render(a, b) {
  measure();
  const wanted = [];
  const keepKeys = new Set();
  const r = room();
  const newAt = r && lineKnown(r) ? firstUnread() : -1;
  for (let i = a; i < b; i++) {
    const item = items[i];
    const before = items[i - 1];
    const newDay = !before || day(before.m.time) !== day(item.m.time);
    const line = i === newAt;
    const first = newDay || line || isFirst(item, before);
    const sig = signature(item, first) + (newDay ? dayLabel(item.m.time) : '') + line;
    let entry = nodes.get(item.key);
    if (!entry || entry.sig !== sig) {
      const old = entry;
      entry = { sig, node: build(item, first), extra: [] };
      if (newDay) entry.extra.push(separator('day', dayLabel(item.m.time)));
      if (line) entry.extra.push(separator('new', 'New'));
      nodes.set(item.key, entry);
      if (old) replace(old, entry);
    } else refresh(entry.node, item);
    refreshSeen(entry.node, item);
    keepKeys.add(item.key);
    wanted.push(...entry.extra, entry.node);
  }
  for (const [key, entry] of nodes) {
    if (keepKeys.has(key)) continue;
    if (entry.node.contains(document.activeElement)) log.focus({ preventScroll: true });
    for (const n of entry.extra) n.remove();
    entry.node.remove();
    nodes.delete(key);
  }
  if (!items.length && r) wanted.push(note(r));
  let cursor = top.nextSibling;
  for (const n of wanted) {
    if (n === cursor) cursor = cursor.nextSibling;
    else log.insertBefore(n, cursor);
  }
  while (cursor !== bottom) { const next = cursor.nextSibling; cursor.remove(); cursor = next; }
  range = [a, b];
  top.style.height = sum(0, a) + 'px';
  bottom.style.height = sum(b, items.length) + 'px';
}

function replace(old, entry) {
  const focused = old.node.contains(document.activeElement);
  if (old.node.querySelector('.seen')) entry.node.append(old.node.querySelector('.seen'));
  for (const n of old.extra) n.remove();
  if (old.node.isConnected) old.node.replaceWith(entry.node);
  if (focused) entry.node.focus({ preventScroll: true });
}

const separator = (cls, text) => h('div', { class: cls, role: 'separator', 'aria-label': text }, text);

// Whether the place of the unread line is held: else it lies further up, and is loaded by a jump to it.
const lineKnown = (r) => r.line !== null && r.msgs.length > 0 && (r.more === false || r.msgs[0].id <= r.line);

function firstUnread() {
  const r = room();
  if (!r || r.line === null) return -1;
  for (let i = find(r, r.line + 1); i < r.msgs.length; i++) if (!isMe(r.msgs[i].sender)) return i;
  return -1;
}

function measure() {
  let last = 0;
  let n = 0;
  let total = 0;
  for (const [key, entry] of nodes) {
    if (!entry.node.isConnected) continue;
    const from = entry.extra.length ? entry.extra[0] : entry.node;
    const next = entry.node.nextSibling;
    last = next.getBoundingClientRect().top - from.getBoundingClientRect().top;
    if (last <= 0) continue;
    heights.set(key, last);
    total += last;
    n++;
  }
  if (n > 10) average = total / n;
}

function sum(a, b) {
  let px = 0;
  for (let i = a; i < b; i++) px += heights.get(items[i].key) || average;
  return px;
}

// What stands in the list instead of messages: loading, the beginning, the first day. It stays as long as it says the same:
// its button may be in focus.
let noted = null;
let words = '';
function note(r) {
  const fresh = r.loaded && r.more === false ? hello(r) : h('p', { class: 'soft hello' },
    link.state === 'up' || !link.tried ? 'Loading messages…' : 'The messages come when the server answers.');
  if (words !== fresh.textContent) { noted = fresh; words = fresh.textContent; }
  return noted;
}

function scrolled() {
  // The box has grown and the list shrunk since: first back to where one was, then judge.
  if (log.clientHeight !== high) { resized(); return; }
  if (!items.length || log.scrollHeight <= log.clientHeight) { after(); return; }
  const distance = log.scrollHeight - log.scrollTop - log.clientHeight;
  follow = distance < END && range[1] === items.length;
  if (follow) below = 0;
  const [a, b] = range;
  const [first, last] = inView();
  const short = (first - a < SLACK && a > 0) || (b - last < SLACK && b < items.length);
  if (short) {
    quiet();
    const anchor = anchorNow();
    render(Math.max(0, first - AROUND), Math.min(items.length, last + 1 + AROUND));
    if (anchor && nodes.has(anchor.key)) restore(anchor);
    else {
      // A leap into what was only guessed at: the guess comes true, or the view would be on blank paper.
      const entry = nodes.get(items[first].key);
      log.scrollTop += entry.node.getBoundingClientRect().top - log.getBoundingClientRect().top;
    }
  }
  after();
}

// Indexes of the first and the last item in view; between the edges of the window by guess.
function inView() {
  const edge = log.getBoundingClientRect();
  const box = (n) => n.getBoundingClientRect();
  if (top.nextSibling === bottom || box(top).bottom >= edge.bottom || box(bottom).top <= edge.top) {
    let y = log.scrollTop;
    let i = 0;
    while (i < items.length - 1 && y > 0) y -= heights.get(items[i++].key) || average;
    return [i, Math.min(items.length - 1, i + Math.ceil(log.clientHeight / average))];
  }
  let first = range[1] - 1;
  let last = range[0];
  for (let i = range[0]; i < range[1]; i++) {
    const e = nodes.get(items[i].key);
    if (!e) continue;
    const r = box(e.node);
    if (r.bottom > edge.top && i < first) first = i;
    if (r.top < edge.bottom && i > last) last = i;
  }
  return [first, last];
}

// After anything moved: buttons, older history, how far one has read. A list that is not shown needs none of it.
function after() {
  const r = room();
  if (!r || !log.clientHeight) return;
  place = log.scrollTop;
  const [first, last] = inView();
  const up = items.length > 0 && log.scrollHeight - log.scrollTop - log.clientHeight > 160;
  const at = firstUnread();
  if (gap && bridged(r, at, first)) gap = false;
  jump.hidden = !up && below === 0 && !gap;
  jump.classList.toggle('still', gap);      // not on the last message, where one stays for long
  label(jump, below ? `Jump to latest (${count(below)})` : 'Jump to latest');
  jumpUp.hidden = at < 0 || (lineKnown(r) && at >= first);
  label(jumpUp, 'Jump to first unread');
  if (r.loaded && r.more && first < OLDER) older(r);
  read(r, last);
}

// The way up has come to the unread line; or one has written, or read on, in another window.
const bridged = (r, at, first) => r.line === null || (lineKnown(r) && (at < 0 || at >= first)) || (r.seen > r.line && r.seen >= r.msgs[0].id);

function label(button, text) {
  if (button.textContent !== text) fill(button, icon('down'), text);
}

// A list with a dialog above it is not read.
function read(r, last) {
  if (gap || !r.msgs.length || !present() || document.querySelector('dialog[open].dlg')) return;
  const m = r.msgs[Math.min(last, r.msgs.length - 1)];
  if (m && m.id > r.seen) onRead(r, m.id);
}

export const reread = after;

// The next older page; whoever asks while one is on its way waits for that one. Comes to whether it arrived.
function older(r) {
  if (coming && coming.id === r.id) return coming.page;
  if (!r.msgs.length) return false;
  quiet();
  log.setAttribute('aria-busy', 'true');
  const page = request({ type: 'history', room: r.id, before: r.msgs[0].id, limit: 100 }, r).then(() => true, () => false);
  const mine = coming = { id: r.id, page };
  page.then(() => { if (coming === mine) coming = null; });
  return page;
}

// What is put in while this holds is not read out: it is history, or one's own.
function quiet() {
  log.setAttribute('aria-live', 'off');
  clearTimeout(quietTimer);
  quietTimer = setTimeout(() => {
    log.setAttribute('aria-live', 'polite');
    log.removeAttribute('aria-busy');
  }, 400);
}

function ticks() {
  for (let i = range[0]; i < range[1] && i < items.length; i++) {
    const entry = nodes.get(items[i].key);
    if (entry) { refresh(entry.node, items[i]); refreshSeen(entry.node, items[i]); }
  }
}

// By hand, or because one has written there: what lies between is left out, and counts as read.
export function toEnd() {
  gap = false;
  follow = true;
  below = 0;
  update();
}

// Brings an item into view, in the middle or near the top.
function toIndex(at, share) {
  follow = false;
  quiet();
  render(Math.max(0, at - AROUND), Math.min(items.length, at + AROUND));
  const entry = nodes.get(items[at].key);
  const node = entry.extra[0] || entry.node;
  log.scrollTop += node.getBoundingClientRect().top - log.getBoundingClientRect().top - log.clientHeight * share;
  scrolled();
  return entry.node;
}

export async function toUnread(focus) {
  const r = room();
  while (r && r.line !== null && !lineKnown(r) && r.more)
    if (!(await older(r)) || r !== room()) return;
  collect();
  const at = firstUnread();
  if (at < 0) return;
  const node = toIndex(at, 0.15);
  if (focus) node.focus({ preventScroll: true });
}

// Goes to a message by its id, loading what lies between.
export async function toMessage(id) {
  const r = room();
  while (!r.byId.has(id) && r.more && r.msgs.length && r.msgs[0].id > id) {
    if (!(await older(r)) || r !== room()) return;
    collect();
  }
  if (!r.byId.has(id)) return;
  collect();
  toIndex(indexOf('m' + id), 0.35).focus({ preventScroll: true });
}

function resized() {
  if (!log.clientHeight) { behind = true; return; }
  if (behind) log.scrollTop = place;
  behind = false;
  if (width !== log.clientWidth) { width = log.clientWidth; heights = new Map(); }
  high = log.clientHeight;
  if (follow) log.scrollTop = log.scrollHeight;
  scrolled();
}

// For hand.js: the message behind a node, the one next to it brought into view, and the end of the list.
export const itemOf = (node) => { const at = node ? indexOf(node.dataset.key) : -1; return at < 0 ? null : items[at]; };

// The node of the message `step` further than this one, or of the last in view; null where the list ends.
export function neighbour(node, step) {
  const at = node ? indexOf(node.dataset.key) + step : inView()[1];
  if (at < 0 || at >= items.length) return null;
  if (!nodes.has(items[at].key)) toIndex(at, 0.5);
  return nodes.get(items[at].key).node;
}

export function settle() {
  if (follow) log.scrollTop = log.scrollHeight;
}
