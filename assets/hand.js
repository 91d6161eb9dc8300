// What one does with messages in the list, by hand: the tools that wander to the message under the pointer or in focus, the
// click on a quote or on one's own words, the keys that move from message to message.
import { $ } from './dom.js';
import { isMe, mayDelete } from './store.js';
import { anyOpen } from './dialog.js';
import { toggleSeen, toolbar } from './message.js';
import { itemOf, neighbour, settle, toEnd, toMessage } from './log.js';

const log = $('.log');
let act = () => {};           // what a tool does: act('reply' | 'edit' | 'delete', item)

export function start(actions) {
  act = actions;
  log.addEventListener('pointerover', (e) => tools(e.target.closest('.msg')));
  log.addEventListener('focusin', (e) => {
    tools(e.target.closest('.msg'));
    // Under a finger they lie above the message, which may be where the view ends.
    if (bar && matchMedia('(pointer:coarse)').matches) bar.scrollIntoView({ block: 'nearest' });
  });
  log.addEventListener('click', clicked);
  log.addEventListener('keydown', keys);
  document.addEventListener('click', (e) => { const own = e.target.closest('.own'); if (!own || !own.querySelector('.seen')) endSeen(); });
  document.addEventListener('keydown', (e) => { if (e.key === 'Escape' && !e.defaultPrevented && !anyOpen() && endSeen()) e.preventDefault(); });
}

// One toolbar wanders to the message under the pointer or in focus.
let bar = null;
function tools(node) {
  if (bar && bar.parentNode === node) return;
  const item = node && itemOf(node);
  if (!item || item.out || item.m.deleted) return;
  if (bar && bar.contains(document.activeElement)) return;
  if (bar) bar.remove();
  bar = toolbar(item, { reply: true, edit: isMe(item.m.sender), remove: mayDelete(item.m) }, act);
  node.append(bar);
}

function clicked(e) {
  const quote = e.target.closest('[data-jump]');
  if (quote) {
    e.preventDefault();
    toMessage(Number(quote.dataset.jump));
    return;
  }
  const words = e.target.closest('.own > .txt');
  if (!words || e.target.closest('a,button') || String(getSelection())) return;
  seenOf(words.parentNode);
}

function seenOf(node) {
  const item = itemOf(node);
  if (!item || !isMe(item.m.sender)) return;
  endSeen(node);
  toggleSeen(node, item);
  settle();
}

// Esc, a click elsewhere and another card end the one that is open.
function endSeen(but) {
  const all = [...log.querySelectorAll('.seen')].filter((card) => card.parentNode !== but);
  for (const card of all) card.remove();
  return all.length > 0;
}

function keys(e) {
  const node = e.target.closest('.msg');
  if (e.target !== log && e.target !== node) return;
  if (e.ctrlKey || e.altKey || e.metaKey) return;
  const step = e.key === 'ArrowUp' ? -1 : e.key === 'ArrowDown' ? 1 : 0;
  if (step) {
    const next = neighbour(node, step);
    if (!next && step > 0) return;
    e.preventDefault();
    if (!next) { log.scrollTop = 0; return; }
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: 'nearest' });
  } else if (e.key === 'End') { e.preventDefault(); toEnd(); }
  else if (node) {
    const item = itemOf(node);
    if (!item) return;
    const key = e.key.toLowerCase();
    if (key === 'enter') seenOf(node);
    else if (item.out || item.m.deleted) return;
    else if (key === 'r') act('reply', item);
    else if (key === 'e' && isMe(item.m.sender)) act('edit', item);
    else if ((key === 'delete' || key === 'backspace') && mayDelete(item.m)) act('delete', item);
    else return;
    e.preventDefault();
  }
}
