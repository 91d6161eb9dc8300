// The account menu below the rooms: settings, keyboard, log out. The dialogs behind it load when they are opened.
import { $, h, icon, fill, avatar, nameOf } from './dom.js';
import { popover, confirm } from './dialog.js';
import { state, on } from './store.js';
import { call } from './api.js';
import { say, lazy } from './composer.js';
import * as outbox from './outbox.js';

const me = $('#me');
const more = $('#account');
let menu = null;

export function start() {
  more.addEventListener('click', () => (menu ? menu.close() : openMenu()));
  more.addEventListener('keydown', (e) => { if (e.key === 'ArrowUp' || e.key === 'ArrowDown') { e.preventDefault(); if (!menu) openMenu(); } });
  on('welcome users', draw);
}

function draw() {
  if (state.me) fill(me, avatar(state.me), h('span', { class: 'grow cut' }, h('b', { dir: 'auto' }, nameOf(state.me)), h('br'),
    h('small', { dir: 'auto' }, nameOf(state.me) === state.me.username ? location.host : '@' + state.me.username)));
}

function openMenu() {
  const item = (label, name, go) => h('button', { type: 'button', class: 'it', role: 'menuitem', tabindex: -1,
    onclick: () => { menu.close(); go(); } }, icon(name, name === 'out'), label);
  const node = h('div', { class: 'pop', role: 'menu', 'aria-label': 'Account' },
    item('Settings', 'gear', () => lazy(import('./settings.js'), (m) => m.open())),
    item('Keyboard', 'key', () => lazy(import('./keys.js'), (m) => m.open(), true)),
    item('Log out', 'out', logout));
  node.addEventListener('keydown', (e) => {
    const all = [...node.children];
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[e.key];
    if (e.key === 'Tab') menu.close();
    if (to === undefined) return;
    e.preventDefault();
    all[to % all.length].focus();
  });
  menu = popover(more, node, me.parentNode, { closed: () => { menu = null; } });
  node.firstChild.focus();
}

let left = false;
export const leaving = () => left;
export async function logout() {
  const n = outbox.waiting();
  const failed = outbox.failed();
  const words = [
    n > 0 && h('p', { class: 'f' }, n === 1 ? 'One message has not been sent yet. It stays in this browser and goes out when you log in here again.'
      : `${n} messages have not been sent yet. They stay in this browser and go out when you log in here again.`),
    failed > 0 && h('p', { class: 'f' }, failed === 1 ? 'One message has failed. It stays in this browser, to be tried again or removed when you are back.'
      : `${failed} messages have failed. They stay in this browser, to be tried again or removed when you are back.`),
  ];
  if (n + failed && !(await confirm('Log out now?', words, 'Log out'))) return;
  left = true;
  try {
    await call('POST', '/api/logout');
  } catch (e) {
    left = e.status === 401;
    if (e.status !== 401) { say('You are still logged in.', ' The server did not answer. Try again when the connection is back.', true); return; }
  }
  location.replace('/login');
}
