// One message as nodes: others' words on the paper, one's own in a slip with time and tick. An item is
// {key, m, out}: a stored message, or an entry of the outbox (out) in the shape of one. What changes without the
// words (tick, waiting, failed) is brought up to date in place, so that a screen reader hears nothing twice.
import { h, put, fill, icon, button, hidden, avatar, nameOf } from './dom.js';
import { blocks, oneLine } from './text.js';
import { time, fullTime, day, known } from './format.js';
import { state, room, user, person, isMe, highestMark, mentionsMe, membersOf } from './store.js';
import * as outbox from './outbox.js';

const GROUP = 5 * 60000;

export function isFirst(item, before) {
  if (!before) return true;
  const a = item.m;
  const b = before.m;
  return a.sender !== b.sender || day(a.time) !== day(b.time) || Math.abs(a.time - b.time) > GROUP;
}

// Two items of the same signature have the same nodes, but for what refresh() does.
export function signature(item, first) {
  const m = item.m;
  const quoted = m.reply && room(m.room) && room(m.room).byId.get(m.reply);
  return [first, m.sender, user(m.sender).rev, m.deleted, m.edited, m.reply, quoted && [quoted.rev, user(quoted.sender).rev], m.text, time(m.time),
    m.text.includes('@') && state.version].join('\u0000');
}

export function build(item, first) {
  const m = item.m;
  const own = isMe(m.sender);
  const sender = user(m.sender);
  const stamp = h('time', { datetime: known(m.time) && new Date(m.time).toISOString(), title: fullTime(m.time) }, time(m.time));
  const node = h('article', { class: `msg${own ? ' own' : ''}${first ? ' first' : ''}${!own && !m.deleted && mentionsMe(m) ? ' hot' : ''}`,
    tabindex: -1, 'data-key': item.key });
  const words = m.deleted ? [h('em', { class: 'soft' }, 'Message deleted')] : blocks(m.text, person);
  const quote = m.reply && !m.deleted ? quoteOf(m) : null;
  if (own) {
    put(node, hidden([h('bdi', null, nameOf(sender)), ' (you): ']),
      h('div', { class: 'txt' }, quote, h('div', { class: 'say', dir: 'auto' }, words),
        h('span', { class: 'meta' }, h('span', { class: 'why' }), m.edited && !m.deleted && 'edited · ', stamp, '\u00a0',
          m.deleted ? null : h('span', { class: 'tick', role: 'img' }, '◷'))));
  } else {
    put(node, first && avatar(sender),
      h('header', null, h('b', { class: first ? 'who' : 'who vh', dir: 'auto', title: '@' + m.sender }, nameOf(sender)), ' ', stamp),
      h('div', { class: 'txt', dir: 'auto' }, quote, words, m.edited && !m.deleted && h('small', { class: 'meta' }, 'edited')));
  }
  refresh(node, item);
  return node;
}

export function refresh(node, item) {
  if (!isMe(item.m.sender)) return;
  const out = item.out;
  node.classList.toggle('wait', Boolean(out && !out.failed));
  node.classList.toggle('fail', Boolean(out && out.failed));
  const why = node.querySelector('.why');
  if (why) set(why, out ? (out.failed ? `not sent · ${out.failed} · ` : 'waiting · ') : '');
  const tick = node.querySelector('.tick');
  if (tick) {
    const seen = !out && highestMark(room(item.m.room)) >= item.m.id;
    const [sign, name] = out ? (out.failed ? ['!', 'failed'] : ['◷', 'sending']) : seen ? ['✓✓', 'seen'] : ['✓', 'sent'];
    set(tick, sign);
    if (tick.getAttribute('aria-label') !== name) { tick.setAttribute('aria-label', name); tick.title = name; }
  }
  let row = node.querySelector(':scope > .row');
  if (out && out.failed && !row) {
    node.append(h('div', { class: 'row' }, button('Retry', () => outbox.retry(out.nonce), 'bad'),
      button('Remove', () => outbox.remove(out.nonce))));
  } else if (row && !(out && out.failed)) row.remove();
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function quoteOf(m) {
  const r = room(m.room);
  const original = r && r.byId.get(m.reply);
  return h('a', { class: 'quote cut', href: '#m' + m.reply, 'data-jump': m.reply }, hidden('In reply to '),
    original ? [h('b', { dir: 'auto' }, nameOf(user(original.sender))), ' ',
      h('bdi', null, original.deleted ? 'Message deleted' : oneLine(original.text))] : 'an earlier message');
}

// Who has seen it: a card below one's own message, until the next click.
export function toggleSeen(node, item) {
  const old = node.querySelector('.seen');
  if (old) { old.remove(); return; }
  if (item.out) return;
  node.append(h('div', { class: 'card seen', role: 'status' }, h('div', { class: 'grow' })));
  refreshSeen(node, item);
}

export function refreshSeen(node, item) {
  const place = node.querySelector('.seen > .grow');
  if (!place || item.out) return;
  const r = room(item.m.room);
  const names = Object.keys(r.seen_by).filter((n) => n !== '*' && n !== state.me.username && r.seen_by[n] >= item.m.id);
  const others = Math.max(membersOf(r.id).length - 1, names.length, r.id === 1 ? 0 : (r.members || 0) - 1);
  const some = !names.length && highestMark(r) >= item.m.id;
  const list = names.map((n, i) => [i ? ' · ' : '', h('bdi', null, nameOf(user(n)))]);
  fill(place, h('b', null, some ? 'Seen' : names.length ? `Seen by ${names.length} of ${others}` : 'Not seen yet'),
    h('p', { class: 'soft' }, some ? 'Somebody has seen it. In a room as large as this the server does not tell who.'
      : names.length ? list.flat() : 'Stored on the server. Nobody else has had it in view.'));
}

export function toolbar(item, may, act) {
  const tool = (label, name, what) => h('button', { type: 'button', class: 'ic', 'aria-label': label, title: label, onclick: () => act(what, item) },
    icon(name, name === 'reply'));
  return h('div', { class: 'tools', role: 'toolbar', 'aria-label': 'Message actions' },
    may.reply && tool('Reply', 'reply', 'reply'), may.edit && tool('Edit', 'edit', 'edit'), may.remove && tool('Delete', 'bin', 'delete'));
}
