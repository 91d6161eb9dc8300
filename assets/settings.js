// The settings dialog: profile, appearance, password, sessions. Loaded when it is opened.
import { h, fill, button, alertBox, wrong, filled, avatar, lamp, keep, recall } from './dom.js';
import { call, sentence } from './api.js';
import { modal } from './dialog.js';
import { state, takeUser } from './store.js';
import { shortDate } from './format.js';

export function open() {
  const me = state.me;
  const errors = h('div');
  const name = h('input', { id: 'dn', name: 'display_name', maxlength: 64, dir: 'auto', value: me.display_name || '', autocomplete: 'nickname' });
  const status = h('input', { id: 'ss', name: 'status', maxlength: 100, dir: 'auto', value: me.status || '', placeholder: 'What are you up to?', autocomplete: 'off' });
  const face = h('span', null, avatar(me));
  const profile = h('form', null, errors,
    h('div', { class: 'row f' }, face, h('p', { class: 'soft grow' }, 'Your username is ', h('b', { dir: 'auto' }, me.username), '. It cannot be changed.')),
    h('div', { class: 'f' }, h('label', { for: 'dn' }, 'Display name'), name),
    h('div', { class: 'f' }, h('label', { for: 'ss' }, 'Status'), status), h('button', { class: 'btn' }, 'Save profile'));
  let saving = false;
  profile.addEventListener('submit', async (e) => {
    e.preventDefault();
    if (saving || !filled(profile, errors)) return;
    const change = {};
    if (name.value.trim() !== (state.me.display_name || '')) change.display_name = name.value.trim();
    if (status.value.trim() !== (state.me.status || '')) change.status = status.value.trim();
    saving = true;
    try {
      const data = Object.keys(change).length > 0 && await call('PATCH', '/api/me', change);
      if (data && data.user) takeUser(data.user);
      fill(face, avatar(state.me));
      fill(errors, h('p', { class: 'f', role: 'status' }, 'The profile is saved.'));
    } catch (error) {
      wrong(change.display_name === undefined ? status : name, errors, sentence(error, { bad_name: 'That display name cannot be used.' }));
    }
    saving = false;
  });
  const section = (id, title, ...content) => h('section', { id, 'aria-labelledby': id + 'h' }, h('h3', { id: id + 'h' }, title), content);
  const list = h('ul', null, h('li', { class: 'soft' }, 'Looking…'));
  const parts = [['s0', 'Profile', profile], ['s1', 'Appearance', themes()], ['s2', 'Password', password()], ['s3', 'Sessions', list]];
  const links = parts.map(([id, title], i) => h('li', null, h('a', { class: 'it', href: '#' + id, 'aria-current': i === 0 && 'true', onclick: (e) => {
    e.preventDefault();           // the fragment belongs to the rooms
    for (const a of nav.querySelectorAll('a')) a.removeAttribute('aria-current');
    e.currentTarget.setAttribute('aria-current', 'true');
    const to = d.node.querySelector('#' + id);
    to.scrollIntoView();
    (to.querySelector('input,button') || e.currentTarget).focus({ preventScroll: true });
  } }, title)));
  const nav = h('nav', { 'aria-label': 'Settings' }, h('ul', null, links));
  const d = modal('Settings', h('div', { class: 'two' }, nav, h('div', { class: 'in', tabindex: 0, role: 'group', 'aria-label': 'All settings' },
    parts.map(([id, title, content]) => section(id, title, content)))), { wide: true, actions: [button('Close', () => d.close())] });
  sessions(list);
}

function themes() {
  const now = recall('cb.theme') || 'device';
  const choice = (value, label) => h('label', { class: 'btn' }, h('input', { type: 'radio', name: 'theme', value, checked: value === now }), label);
  const node = h('div', { role: 'radiogroup', 'aria-label': 'Theme', class: 'row wrap' }, choice('device', 'As the device'), choice('light', 'Light'), choice('dark', 'Dark'));
  node.addEventListener('change', (e) => {
    const value = e.target.value === 'device' ? null : e.target.value;
    keep('cb.theme', value);
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
  });
  return node;
}

function password() {
  const result = h('div');
  const old = h('input', { id: 'po', type: 'password', autocomplete: 'current-password', required: true, 'data-need': 'Enter your present password.' });
  const fresh = h('input', { id: 'pn', type: 'password', autocomplete: 'new-password', required: true, 'data-need': 'Choose a new password of 8 characters or more.', minlength: 8, maxlength: 128, 'aria-describedby': 'pnh' });
  const node = h('form', { novalidate: true }, result, h('input', { class: 'vh', name: 'username', autocomplete: 'username', value: state.me.username, tabindex: -1, 'aria-hidden': 'true', readonly: true }),
    h('div', { class: 'f' }, h('label', { for: 'po' }, 'Present password'), old),
    h('div', { class: 'f' }, h('label', { for: 'pn' }, 'New password'), fresh, h('small', { id: 'pnh' }, '8 characters or more. A few words in a row are fine.')),
    h('p', { class: 'soft f' }, 'Every other session ends when the password changes.'), h('button', { class: 'btn' }, 'Change password'));
  node.addEventListener('submit', async (e) => {
    e.preventDefault();
    if (!filled(node, result)) return;
    try {
      await call('POST', '/api/me/password', { old: old.value, new: fresh.value });
      node.reset();
      fill(result, h('p', { class: 'f', role: 'status' }, 'The password is changed. Every other session has ended.'));
    } catch (error) {
      const no = 'The present password is not right.';
      wrong(error.code === 'bad_password' ? fresh : old, result, sentence(error, { bad_credentials: no, forbidden: no }));
    }
  });
  return node;
}

async function sessions(list) {
  try {
    const all = (await call('GET', '/api/me/sessions')).sessions;
    all.sort((a, b) => Number(Boolean(b.current)) - Number(Boolean(a.current)) || b.last_used - a.last_used);
    fill(list, all.map((s) => {
      const row = h('li', { class: 'row f' }, lamp(s.current), h('span', { class: 'grow' }, h('b', null, agent(s.agent)), h('br'),
        h('small', null, h('bdi', null, s.address || 'unknown address'), s.current ? ' · this session' : ` · last used ${shortDate(s.last_used)}`)));
      if (!s.current) row.append(button('End', async () => {
        try { await call('DELETE', `/api/me/sessions/${encodeURIComponent(s.id)}`); gone(row); } catch (error) {
          if (error.status === 404) gone(row);
          else list.prepend(h('li', null, alertBox(sentence(error))));
        }
      }, 'bad', { 'aria-label': `End session ${agent(s.agent)}` }));
      return row;
    }));
  } catch (error) { fill(list, h('li', null, alertBox(sentence(error)))); }
}

// An ended session goes from the list; the focus goes on to the next one's button, or to the list's heading.
function gone(row) {
  const list = row.parentNode;
  const next = row.nextElementSibling || row.previousElementSibling;
  row.remove();
  const to = (next && next.querySelector('button')) || list.querySelector('button') || list.parentNode.querySelector('h3');
  if (to.tagName === 'H3') to.tabIndex = -1;
  to.focus();
}

// "Firefox on Linux" out of what a browser calls itself; other programs keep the first word of theirs.
function agent(text) {
  const s = String(text || '');
  const find = (pairs) => (pairs.find(([mark]) => s.includes(mark)) || [])[1];
  const browser = find([['Edg', 'Edge'], ['OPR/', 'Opera'], ['Firefox/', 'Firefox'], ['Chrom', 'Chrome'], ['Safari/', 'Safari']]);
  const system = find([['Android', 'Android'], ['iPhone', 'iPhone'], ['iPad', 'iPad'], ['Windows', 'Windows'], ['Mac OS', 'macOS'], ['CrOS', 'ChromeOS'], ['Linux', 'Linux']]);
  if (browser) return system ? `${browser} on ${system}` : browser;
  return [...(s.split(/[\s/]/)[0] || 'Unknown program')].slice(0, 40).join('');
}
