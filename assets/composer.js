// The box where one writes: sending, editing, replying, drafts, completion of names and emoji, and the alert above it
// when a text was refused. A draft of each room lies in localStorage; what is sent goes to the outbox at once.
// A draft is {text, reply} and, while a message is edited, {text, reply, edit, change}: the number of the message and what
// it is to become; text and reply wait until the edit is done.
import { $, h, fill, icon, iconButton, recall, keep, nameOf, avatar } from './dom.js';
import { state, room, user, isMe, fold, on } from './store.js';
import { oneLine } from './text.js';
import { request, send, link } from './socket.js';
import * as outbox from './outbox.js';
import * as log from './log.js';

const TYPING_EVERY = 3000;

const form = $('#pen');
const box = $('#box');
const tray = $('#tray');
const notices = $('#notices');
let mode = null;              // {edit: id} or {reply: id}
let quoted = null;            // the message of that number as the tray shows it; undefined if it is not held
let here = null;              // the room whose text is in the box
let aside = null;             // the {text, reply} that waits while a message is edited
let typed = -TYPING_EVERY;    // when we last said that we type
let saving = 0;
let saved = '';               // the room and its draft as this tab has stored or found it
let list = null;              // the completion that is open: {node, at, options, chosen}

export function start() {
  form.addEventListener('submit', (e) => { e.preventDefault(); submit(); });
  box.addEventListener('input', () => { grow(); typing(); complete(); later(); fits(); });
  box.addEventListener('keydown', keys);
  box.addEventListener('pointerdown', endList);
  box.addEventListener('blur', () => setTimeout(endList, 150));
  $('#smile').addEventListener('click', () => lazy(import('./emoji.js'), (m) => m.openPicker($('#smile'), form, insert), true));
  addEventListener('pagehide', saveDraft);
  document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'hidden') saveDraft(); });
  on('history message room', invite);
  try { box.value = [sessionStorage.getItem('cb.early'), box.value].filter(Boolean).join('\n'); } catch (e) { /* storage may be off */ }
  on('history message users', (d) => { if (mode && (!d || about() !== quoted)) name(); });
}

// What is typed before anybody knows whose it is lies with the tab.
function early(text) {
  try { sessionStorage.setItem('cb.early', text); } catch (e) { /* then it is gone after a reload */ }
}

// Turns to the room in view: its draft, its name in the box. What was typed before the first one came is added to that.
export function show() {
  invite();
  if (here === state.room) return;
  const first = here === null;
  if (!first) {
    saveDraft();
    dismiss();
  }
  here = state.room;
  const d = stored(here);
  if (first && box.value) {
    put({ ...d, text: [d.text, box.value].filter(Boolean).join('\n') });
    saveDraft();
    early('');
    return;
  }
  put(d);
  saved = JSON.stringify([here, draft()]);
}

function invite() {
  const r = room();
  const closed = !r || Boolean(r.archived);
  box.placeholder = !r ? 'Message' : r.archived ? 'This room is archived: it can be read, not written in'
    : r.loaded && !r.msgs.length ? `Say hello to ${r.name}` : `Message ${r.name}`;
  box.disabled = closed;
  for (const b of form.querySelectorAll('.row > button')) b.disabled = closed;
}

// What was refused has been changed: the red goes. The alert goes too, once it has nothing more to say: the text that was
// too long fits, or the box is empty.
let tooLong = false;
function fits() {
  form.classList.remove('no');
  if (!box.value || (tooLong && over(box.value.trim()) <= 0)) dismiss();
}
const over = (text) => [...text].length - state.limits.text;

const keyOf = (id) => `cb.draft.${state.me.username}.${id}`;

// The draft of a room that is not in the box.
function stored(id) {
  try { return { text: '', ...JSON.parse(recall(keyOf(id)) || '{}') }; } catch (e) { return { text: '' }; }
}
function store(id, d) {
  keep(keyOf(id), d.text || d.reply || d.edit ? JSON.stringify(d) : null);
}

// The draft in the box.
const plain = () => aside || { text: box.value, reply: mode ? mode.reply : undefined };
const draft = () => (aside ? { ...aside, edit: mode.edit, change: box.value } : plain());

// Changes the draft of a room, wherever it is.
function amend(id, what) {
  if (id === here) { put(what(draft())); saveDraft(); }
  else store(id, what(stored(id)));
}

function later() {
  clearTimeout(saving);
  saving = setTimeout(saveDraft, 300);
}

export function saveDraft() {
  clearTimeout(saving);
  if (here === null) { early(box.value); return; }
  const d = draft();
  const now = JSON.stringify([here, d]);
  // Unchanged here: another tab may have a newer one.
  if (now === saved) return;
  saved = now;
  store(here, d);
}

// Puts a draft into the box.
function put(d) {
  mode = d.edit ? { edit: d.edit } : d.reply ? { reply: d.reply } : null;
  aside = d.edit ? { text: d.text, reply: d.reply } : null;
  const text = (d.edit ? d.change : d.text) || '';
  if (box.value !== text) box.value = text;      // else the cursor stays
  tray.hidden = !mode;
  fill(tray, mode && [h('span', { class: 'quote cut grow' }), iconButton(mode.edit ? 'Cancel edit' : 'Cancel reply', 'close', () => { end(); box.focus(); })]);
  if (mode) name();
  grow();
}

// What is edited or answered, in the tray. After a reload, or far up, the message may not be held (yet).
const about = () => room() && room().byId.get(mode.edit || mode.reply);
function name() {
  const m = quoted = about();
  if (mode.edit && m && m.deleted) {
    put({ ...aside, text: [box.value, aside.text].filter(Boolean).join('\n') });
    later();
    return say('The message has been deleted.', ' What you were making of it is in the box.');
  }
  fill(tray.firstChild, mode.edit ? h('b', null, 'Editing ') : ['Replying to ', m && [h('b', { dir: 'auto' }, nameOf(user(m.sender))), ' ']].flat(2),
    m ? h('bdi', null, oneLine(m.text)) : 'an earlier message');
}

// The edit or the reply is given up: what was written before it, or for it, is in the box.
function end() {
  put(aside || { text: box.value });
  later();
}

export function reply(m) {
  put({ ...plain(), reply: m.id });
  later();
  box.focus();
}
export function edit(m) {
  put({ ...plain(), edit: m.id, change: m.text });
  later();
  box.focus();
  box.setSelectionRange(box.value.length, box.value.length);
}

function submit() {
  const r = room();
  const text = box.value.replace(/\r\n?/g, '\n').trim();
  endList();
  if (!r || !state.me) return text && say('There is no connection yet.', ' Your text stays in the box.', true);
  if (r.archived) return;
  if (!/[^\s\u200b-\u200f\u2060\ufeff]/.test(text)) {
    if (mode && mode.edit) say('Nothing is left of it. ', 'To take a message back, delete it: the bin beside it does.');
    return;
  }
  const more = over(text);
  if (more > 0) {
    refuse('That is too long', ` by ${more} ${more === 1 ? 'character' : 'characters'}. Shorten it or send it in two.`);
    tooLong = true;
    return;
  }
  dismiss();
  if (mode && mode.edit) return sendEdit(mode.edit, text);
  outbox.add(r.id, text, mode && mode.reply);
  r.line = null;
  put({ text: '' });
  saveDraft();
  typed = -TYPING_EVERY;
  log.toEnd();
}

async function sendEdit(id, text) {
  const m = about();
  if (m && m.text === text) return end();
  if (link.state !== 'up') return refuse('There is no connection.', ' Your change is still in the box: send it when the connection is back.', true);
  const where = here;
  end();
  try {
    const f = await request({ type: 'edit', id, text });
    if (f.type === 'warning') back(where, text, { edit: id }, ...warning(f));
  } catch (e) {
    back(where, text, { edit: id }, 'The change was not stored:', ` ${WHY[e.code] || e.message || e.code}.`);
  }
}

const WHY = { closed: 'the connection was lost', rate_limited: 'too much at once, wait a moment', not_found: 'the message is gone',
  forbidden: 'only its author may change it', too_long: 'it is too long', storage_full: 'the server’s disk is full', unavailable: 'the server could not store it' };

// A text that was refused comes back to the draft of its room, in front of what has been written since; an edit under way
// stays as it is. `as` is what the text was, {edit: id} or {reply: id}. The alert says why, and where the text is.
function back(id, text, as, strong, why) {
  let editing = false;
  amend(id, (d) => {
    editing = Boolean(d.edit);
    if (as.edit && !editing) return { ...d, edit: as.edit, change: text };
    return d.text.trim() ? { ...d, text: `${text}\n${d.text}` } : { ...d, text, reply: as.reply || d.reply };
  });
  if (id !== here) say(strong, [why, ' Your text is in the box of ', h('bdi', null, room(id) ? room(id).name : 'its room'), ': change it there and send it again.']);
  else if (editing) say(strong, `${why} Your text comes back into the box when this edit is done.`);
  else refuse(strong, `${why} Your text is still in the box: change it and send it again.`);
}

// A stop word in a message. Without an entry nobody knows any more what it was.
export function warned(f, entry) {
  if (entry) back(entry.room, entry.text, { reply: entry.reply }, ...warning(f));
  else say(...warning(f));
}

function warning(f) {
  const left = f.limit - f.count;
  const next = !f.limit ? '' : left === 1 ? ' One more warning blocks this account.' : left > 1 ? ` ${left} more warnings block this account.` : ' This account is now blocked.';
  return [`Stop-word warning ${f.count}${f.limit ? ` of ${f.limit}` : ''}.`, ` It was not sent and nobody has seen it.${next}`];
}

function refuse(strong, text, cut) {
  form.classList.add('no');
  say(strong, text, cut);
  box.focus();
}

// `cut`: it is about a lost connection, and goes when that is back.
let passes = false;
export function say(strong, text, cut = false) {
  tooLong = false;
  passes = cut;
  fill(notices, h('div', { class: 'alert', role: 'alert' }, icon('alert'), h('div', { class: 'grow' }, h('b', null, strong), text),
    iconButton('Dismiss', 'close', () => { dismiss(); box.focus(); })));
}
// A part of the page that loads when it is needed, and may be gone after the server was renewed. Most have nothing to show
// before the first welcome.
export function lazy(part, use, early) {
  part.then((m) => (early || state.me ? use(m) : say('There is no connection yet.', ' Try again when it is there.', true)), () => say('That part of the page did not arrive.', ' Check the connection; if the server has been renewed, reload the page.', true));
}

export const reconnected = () => { if (passes) dismiss(); };

export function dismiss() {
  notices.textContent = '';
  form.classList.remove('no');
}

function typing() {
  if (!box.value || (mode && mode.edit) || performance.now() - typed < TYPING_EVERY) return;
  if (send({ type: 'typing', room: state.room })) typed = performance.now();
}

// Grows with the text up to 40 % of the view; newer browsers do it by themselves.
const grows = typeof CSS !== 'undefined' && CSS.supports && CSS.supports('field-sizing', 'content');
export function grow() {
  if (grows) return;
  box.style.height = 'auto';
  box.style.height = box.scrollHeight + 'px';
}

export function insert(text) {
  if (box.disabled) return;
  const { selectionStart: a, selectionEnd: b } = box;
  box.setRangeText(text, a, b, 'end');
  box.focus();
  box.dispatchEvent(new Event('input'));
}

export function mention(name) {
  const gap = box.value && !/\s$/.test(box.value.slice(0, box.selectionStart)) ? ' ' : '';
  insert(`${gap}@${name} `);
}

function keys(e) {
  if (e.isComposing || e.keyCode === 229) return;
  if (list && listKeys(e)) return;
  if (e.key === 'Enter' && !e.shiftKey && !e.ctrlKey && !e.altKey && !e.metaKey) {
    e.preventDefault();
    submit();
  } else if (e.key === 'Escape') {
    if (mode) { e.preventDefault(); end(); }
    else if (notices.firstChild) { e.preventDefault(); dismiss(); }
  } else if (e.key === 'ArrowUp' && !box.value && !mode && !e.shiftKey && !e.altKey) {
    const r = room();
    for (let i = r ? r.msgs.length - 1 : -1; i >= 0; i--) {
      const m = r.msgs[i];
      if (!isMe(m.sender) || m.deleted) continue;
      e.preventDefault();
      edit(m);
      return;
    }
  }
}

// Completion: after @ people, after : emoji.
async function complete() {
  const at = box.selectionStart;
  const head = box.value.slice(Math.max(0, at - 40), at);
  const name = /(?:^|[^\p{L}\p{N}_])@([\p{L}\p{N}_.-]*)$/u.exec(head);
  const emoji = /(?:^|\s)(:[a-z0-9_+-]{2,}:?)$/i.exec(head);
  if (name) {
    const want = fold(name[1]);
    const found = [...state.users.values()].filter((u) => !u.deleted && !isMe(u.username) &&
      (fold(u.username).startsWith(want) || fold(nameOf(u)).split(/\s+/).some((w) => w.startsWith(want))));
    const typed = (u) => fold(u.username) === want;      // comes first, or Enter would make another name of it
    found.sort((a, b) => typed(b) - typed(a) || state.online.has(b.username) - state.online.has(a.username) || (fold(nameOf(a)) < fold(nameOf(b)) ? -1 : 1));
    offer('People to mention', at - name[1].length - 1, found.length === 1 && typed(found[0]) ? [] : found.slice(0, 6).map((u) => ({ text: `@${u.username} `,
      nodes: [avatar(u, true), h('span', { class: 'cut' }, h('span', null, h('b', { dir: 'auto', title: nameOf(u) }, nameOf(u)), ' ', h('small', null, '@', u.username)))] })));
  } else if (emoji) {
    const found = await import('./emoji.js').then((m) => m.suggestions(emoji[1].replace(/:/g, '').toLowerCase()), () => []);
    if (box.selectionStart !== at) return;
    if (emoji[1].endsWith(':')) {
      endList();
      if (found.length && found[0].exact) box.setRangeText(found[0][0], at - emoji[1].length, at, 'end');
      return;
    }
    offer('Emoji to insert', at - emoji[1].length, found.slice(0, 6).map(([sign, label]) => ({ text: sign, nodes: [sign + ' ' + label] })));
  } else endList();
}

function offer(label, from, options) {
  endList();
  if (!options.length) return;
  list = { from, options, chosen: 0, node: h('ul', { class: 'pop', role: 'listbox', id: 'complete', 'aria-label': label }) };
  options.forEach((o, i) => list.node.append(h('li', { role: 'option', id: 'o' + i, class: 'it', 'aria-selected': String(i === 0),
    onpointerdown: (e) => { e.preventDefault(); choose(i); } }, o.nodes)));
  form.prepend(list.node);
  box.setAttribute('aria-controls', 'complete');
  box.setAttribute('aria-activedescendant', 'o0');
}

function endList() {
  if (!list) return;
  list.node.remove();
  list = null;
  box.removeAttribute('aria-controls');
  box.removeAttribute('aria-activedescendant');
}

function choose(i) {
  const { from, options } = list;
  endList();
  box.setRangeText(options[i].text, from, box.selectionStart, 'end');
  box.focus();
  grow();
  later();
}

function listKeys(e) {
  const step = e.key === 'ArrowDown' ? 1 : e.key === 'ArrowUp' ? -1 : 0;
  if (step) {
    const n = list.options.length;
    list.node.children[list.chosen].setAttribute('aria-selected', 'false');
    list.chosen = (list.chosen + step + n) % n;
    list.node.children[list.chosen].setAttribute('aria-selected', 'true');
    box.setAttribute('aria-activedescendant', 'o' + list.chosen);
  } else if ((e.key === 'Enter' && !e.shiftKey) || (e.key === 'Tab' && !e.shiftKey)) choose(list.chosen);
  else if (e.key === 'Escape') endList();
  else {
    if (/^(Arrow|Home|End|Page)/.test(e.key)) endList();     // the cursor goes elsewhere
    return false;
  }
  e.preventDefault();
  return true;
}
