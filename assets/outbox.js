// Messages on their way. Each lies in localStorage under a key of its own with its nonce until the server has
// answered, so that neither a reload nor a lost line loses a word; the nonce makes sure that it arrives once. One
// is in flight at a time: that keeps the order. Of several tabs each sends what was typed in it; what belongs to a
// tab that is gone is taken over. Two tabs sending the same one would be harmless: same nonce, one message.
import { send, link } from './socket.js';
import { state, emit, isMe } from './store.js';
import { recall, keep } from './dom.js';

const ANSWER = 15000;         // no answer for so long: the same nonce again

const entries = new Map();    // nonce → {nonce, room, text, reply, time, seq, tab, failed}
const stored = new Set();     // nonces that came back: what another tab keeps may be heard of after that
let prefix = null;
let tab = '';
let flying = null;            // {nonce, since}
let rest = 0;                 // nothing is sent before this moment
let tries = 0;
let channel = null;

export const random = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

export function open(username) {
  if (prefix === `cb.out.${username}.`) return;
  prefix = `cb.out.${username}.`;
  try { tab = sessionStorage.getItem('cb.tab') || ''; } catch (e) { tab = ''; }
  if (!tab) {
    tab = random();
    try { sessionStorage.setItem('cb.tab', tab); } catch (e) { /* then a reload counts as another tab */ }
  }
  readAll();
  addEventListener('storage', (e) => {
    if (e.key !== null && !e.key.startsWith(prefix)) return;
    readAll();
    emit('outbox');
  });
  if (typeof BroadcastChannel === 'function') {
    channel = new BroadcastChannel('chatterbox');
    channel.onmessage = (e) => {
      if (e.data && e.data.ask && e.data.ask !== tab) channel.postMessage({ here: tab });
      else if (e.data && e.data.here) alive.add(e.data.here);
    };
  }
  setInterval(tick, 1000);
  adopt();
  emit('outbox');
}

function readAll() {
  for (const e of sorted()) if (!e.volatile) entries.delete(e.nonce);
  try {
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i);
      if (!key.startsWith(prefix)) continue;
      const e = parse(localStorage.getItem(key));
      if (e && !stored.has(e.nonce)) entries.set(e.nonce, e);
    }
  } catch (e) { /* no storage: what is typed lives as long as the page */ }
}

function parse(json) {
  try {
    const e = JSON.parse(json);
    return e && typeof e.text === 'string' && typeof e.nonce === 'string' && Number.isInteger(e.room) ? e : null;
  } catch (e) { return null; }
}

// What was written for a room that one is no longer in shows in the lobby: it will fail, and must not be out of sight.
export const waitingIn = (room) => sorted().filter((e) => e.room === room || (room === 1 && !state.rooms.has(e.room)));
export const waiting = () => sorted().filter((e) => !e.failed).length;
export const failed = () => entries.size - waiting();
const sorted = () => [...entries.values()].sort((a, b) => a.seq - b.seq || (a.nonce < b.nonce ? -1 : 1));

export function add(room, text, reply) {
  const last = sorted().pop(), time = Date.now();
  // The time first: then one's newest nonces lie side by side in the server's index, and each does not touch a page of its own.
  const nonce = time.toString(36) + random().slice(16);
  const e = { nonce, room, text, reply: reply || undefined, time, seq: (last ? last.seq : 0) + 1, tab };
  save(e);
  emit('outbox');
  pump();
}

// What the browser will not store (no room, not allowed) lives as long as the page.
function save(e) {
  entries.set(e.nonce, e);
  e.volatile = !keep(prefix + e.nonce, JSON.stringify({ ...e, volatile: undefined }));
}

export function remove(nonce) {
  entries.delete(nonce);
  keep(prefix + nonce, null);
  if (flying && flying.nonce === nonce) flying = null;
  emit('outbox');
  pump();
}

export function retry(nonce) {
  const e = entries.get(nonce);
  if (!e) return;
  save({ ...e, failed: undefined, tab });
  rest = 0;
  emit('outbox');
  pump();
}

// Sends the next one of this tab, if the line is up and none is on its way.
export function pump() {
  if (!prefix || flying || link.state !== 'up' || performance.now() < rest) return;
  const e = sorted().find((x) => !x.failed && x.tab === tab);
  if (!e) return;
  if (!state.rooms.has(e.room)) return fail(e, 'you are no longer in that room');
  const frame = { type: 'message', room: e.room, text: e.text, nonce: e.nonce };
  if (e.reply) frame.reply = e.reply;
  flying = { nonce: e.nonce, since: performance.now() };
  if (!send(frame)) flying = null;
}

export function cut() { flying = null; }

function tick() {
  if (flying && link.state === 'up' && performance.now() - flying.since > ANSWER) flying = null;
  pump();
}

// The message has come back: it is stored. Any tab's copy of the entry goes.
export function acknowledge(m) {
  if (!m.nonce || !isMe(m.sender) || !prefix) return;
  stored.add(m.nonce);
  if (stored.size > 99) stored.delete(stored.values().next().value);
  if (!entries.has(m.nonce)) return;
  tries = 0;
  remove(m.nonce);
}

const REASONS = {
  too_long: 'too long', empty: 'nothing visible in it', bad_request: 'not accepted by the server', not_found: 'what it answers is gone',
  forbidden: 'you may not write here', not_member: 'you are no longer in that room', archived: 'this room is archived',
  storage_full: 'server disk full', bad_nonce: 'not accepted by the server', blocked: 'this account is blocked',
};

// An error or warning that answers one of ours. Returns the entry if its text should go back to the composer.
export function refuse(f) {
  const e = f.nonce && entries.get(f.nonce);
  if (!e) return null;
  if (flying && flying.nonce === f.nonce) flying = null;
  if (f.type === 'warning') { remove(f.nonce); return e; }
  if (f.code === 'rate_limited' || f.code === 'unavailable') {
    const seconds = f.retry_after || Math.min(30, 2 ** ++tries);
    rest = performance.now() + Math.min(60, seconds) * 1000;
    return null;
  }
  fail(e, REASONS[f.code] || f.message || f.code);
  return null;
}

// The server closed the line because of what was in flight.
export function failFlying(reason) {
  const e = flying && entries.get(flying.nonce);
  flying = null;
  if (e) fail(e, reason);
}

function fail(e, reason) {
  save({ ...e, failed: reason });
  emit('outbox');
  pump();
}

// Takes over what belongs to no living tab: all are asked, who does not answer is gone.
const alive = new Set();
export function adopt() {
  if (!prefix || !sorted().some((e) => e.tab !== tab)) return;
  alive.clear();
  if (channel) channel.postMessage({ ask: tab });
  setTimeout(() => {
    for (const e of sorted()) if (e.tab !== tab && !alive.has(e.tab)) save({ ...e, tab });
    pump();
  }, channel ? 300 : 0);
}
