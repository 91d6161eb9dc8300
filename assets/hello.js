// What an empty room shows: on the first day of the lobby the address to share, elsewhere an invitation to begin.
import { h, put, fill, picture, icon, button } from './dom.js';
import { state } from './store.js';

export function hello(r) {
  const lobby = r.id === 1;
  const alone = state.users.size <= 1;
  const box = h('div', { class: 'hello' }, picture('scene', 'scene', '0 0 320 132'), h('h2', null, 'It is quiet in here'));
  if (!lobby) return put(box, h('p', { class: 'soft' }, r.archived ? 'Nobody wrote in this room before it was archived.' : 'Nobody has written in this room yet. The first word is yours.'));
  const local = /^(localhost|127\.|\[::1\])/.test(location.hostname);
  put(box, h('p', { class: 'soft f' }, alone ? 'You are the first. ' : 'Nobody has written yet. ', local
    ? ['This address works on this computer only. To let others on the network in, start the server with ', h('code', { dir: 'ltr' }, `--listen 0.0.0.0:${location.port || 80}`), '.']
    : 'Ask the others to open this address in a browser on the same network. They pick a name and land in this room.'));
  const copy = button([icon('copy'), 'Copy address'], () => copyAddress(copy));
  return put(box, h('div', { class: 'card' }, h('div', { class: 'grow' },
    h('p', { class: 'addr f', dir: 'ltr', id: 'addr' }, location.origin), h('p', null, copy))));
}

// The clipboard API wants https; on plain http the old command does.
async function copyAddress(button) {
  let ok = false;
  try { await navigator.clipboard.writeText(location.origin); ok = true; } catch (e) {
    const area = put(document.body, h('textarea', { class: 'vh', 'aria-hidden': 'true' })).lastChild;
    area.value = location.origin;
    area.select();
    try { ok = document.execCommand('copy'); } catch (e2) { ok = false; }
    area.remove();
    button.focus();
  }
  fill(button, icon('copy'), ok ? 'Copied' : 'Select and copy it by hand');
}
