// The connection to the server. This module alone touches WebSocket. It keeps the position in the log
// (PROTOCOL §1), resumes from it, reconnects with a growing random pause that can be watched and cut short,
// matches answers to requests, and notices a line that is dead without having closed.
import { call } from './api.js';

const PLAIN_MAX = 10000;      // the longest pause, ms; after "overloaded" it is six times as long
const QUIET = 45000;          // a line that said nothing for so long is asked for a sign of life
const PATIENCE = 8000;        // and has so long to give it

// What the page shows: state is 'connecting', 'up', 'down' or 'over'; when down, `due` is the time of the next try.
export const link = { state: 'connecting', due: 0, tried: false, problem: '' };

let hooks = null;             // {frame(f, of), change(), gone(why)}: who listens
let socket = null;
let epoch = null;
let position = null;
let failures = 0;
let timer = 0;
let heard = 0;
let asked = 0;
let refs = 0;
const waiting = new Map();    // ref → {resolve, reject}

const CLOSED = {
  1002: 'The server and this page did not understand each other.',
  1003: 'The server did not accept what this page sent.',
  1007: 'The server did not accept what this page sent.',
  1008: 'The server refused this page too often.',
  1009: 'A message was too large for the server.',
};

export function start(listeners) {
  hooks = listeners;
  addEventListener('online', now);
  addEventListener('offline', () => { if (socket) drop(socket, 1006); else change({}); });
  addEventListener('pageshow', (e) => { if (e.persisted) now(); });
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return;
    if (link.state === 'down') now();
    else probe();
  });
  setInterval(watch, 1000);
  connect();
}

// Try at once: the button, the network's return, the page's return to the foreground.
export function now() {
  if (link.state !== 'down') return;
  clearTimeout(timer);
  connect();
}

export function send(frame) {
  if (link.state !== 'up') return false;
  socket.send(JSON.stringify(frame));
  return true;
}

// A frame that is answered by one with the same ref, which is heard together with what it is `of`. Fails with {code, message} or, cut off, with code 'closed'.
export function request(frame, of) {
  return new Promise((resolve, reject) => {
    const ref = 'r' + ++refs;
    if (!send({ ...frame, ref })) return reject({ code: 'closed', message: 'There is no connection.' });
    waiting.set(ref, { resolve, reject, of });
  });
}

function connect() {
  const query = epoch !== null && position !== null ? `?since=${position}&epoch=${encodeURIComponent(epoch)}&max=1000` : '';
  const mine = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws${query}`);
  socket = mine;
  heard = performance.now();
  asked = 0;
  let opened = false;
  change({ state: 'connecting' });
  mine.onopen = () => { opened = true; };
  mine.onmessage = (e) => { if (socket === mine && typeof e.data === 'string') take(e.data); };
  mine.onclose = (e) => { if (socket === mine) lost(e.code, opened); };
}

function take(data) {
  heard = performance.now();
  asked = 0;
  let f;
  try { f = JSON.parse(data); } catch (e) { return; }
  if (f.type === 'welcome') {
    if (!f.resumed) position = null;
    epoch = f.epoch;
  } else if (f.type === 'ready') {
    position = f.rev;
    failures = 0;
    change({ state: 'up', problem: '', tried: true });
  } else if (f.type === 'room' || f.type === 'user' || (f.type === 'message' && !f.repeat)) {
    position = f.rev;
  }
  const wait = f.ref && waiting.get(f.ref);
  hooks.frame(f, wait && wait.of);
  if (!wait) return;
  waiting.delete(f.ref);
  if (f.type === 'error') wait.reject(f);
  else wait.resolve(f);
}

// The browser may take a minute to notice a dead line: the socket is let go at once and forgotten.
function drop(old, code) {
  old.onclose = old.onmessage = null;
  try { old.close(); } catch (e) { /* it was never open */ }
  lost(code, true);
}

async function lost(code, opened) {
  socket = null;
  for (const w of waiting.values()) w.reject({ code: 'closed', message: 'The connection was lost.' });
  waiting.clear();
  if (code === 4001) return over('ended');
  if (code === 4002) return over('blocked');
  pause(code);
  if (opened) return;
  // A refused handshake looks like any other failure to a page: the API tells whether it is the session.
  try {
    await call('GET', '/api/me');
  } catch (e) {
    if (e.status === 401) over('ended');
    else if (e.code === 'blocked') over('blocked');
  }
}

// There is no way back: nothing more is tried.
function over(why) {
  clearTimeout(timer);
  link.state = 'over';
  hooks.gone(why);
}

function pause(code) {
  failures++;
  let ms;
  if (code === 1001) ms = Math.random() * 5000;
  else {
    const step = Math.min(PLAIN_MAX, 500 * 2 ** Math.min(failures, 8));
    ms = step / 2 + (Math.random() * step) / 2;
    if (code === 1013 || CLOSED[code]) ms = Math.max(5000, ms * 6);
  }
  clearTimeout(timer);
  timer = setTimeout(connect, ms);
  change({ state: 'down', due: performance.now() + ms, tried: true, problem: CLOSED[code] ? `${CLOSED[code]} (${code})` : '' });
}

export function probe() {
  if (link.state !== 'up' || asked) return;
  asked = performance.now();
  send({ type: 'ping' });
}

function watch() {
  const t = performance.now();
  if (link.state === 'down') hooks.change();
  else if (asked && t - asked > PATIENCE) drop(socket, 1006);
  else if (link.state === 'up' && t - heard > QUIET) probe();
  else if (link.state === 'connecting' && t - heard > 20000) drop(socket, 1006);
}

function change(what) {
  Object.assign(link, what);
  if (hooks) hooks.change();
}
