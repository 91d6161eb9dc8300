// The emoji panel and the look-up behind :name: completion. Both this and the list itself (emoji-data.js) come when
// they are first needed, so that they cost the first load nothing. It remembers what is used often.
import { h, fill, recall, keep } from './dom.js';
import { popover } from './dialog.js';

const OFTEN = ['👍', '🙏', '❤️', '😄', '🎉', '👀', '☕'];
let data = null;              // [[group, [[sign, name, words], …]], …]
let picker = null;

async function load() {
  if (!data) data = (await import('./emoji-data.js')).groups;
  return data;
}

const all = () => data.flatMap(([, list]) => list);
const fits = (e, want) => e[1].includes(want) || e[2].includes(want);

// Emoji whose name fits what was typed after the colon, the closest first.
export async function suggestions(typed) {
  await load().catch(() => { data = []; });
  const want = typed.replace(/_/g, ' ');
  const rank = (e) => (e[2].split(' ').includes(typed) || e[1] === want ? 0 : e[1].startsWith(want) ? 1 : e[2].split(' ').some((w) => w.startsWith(want)) ? 2 : 3);
  const found = all().filter((e) => fits(e, want)).sort((a, b) => rank(a) - rank(b));
  if (found.length && rank(found[0]) === 0) found[0].exact = true;
  return found;
}

function often() {
  let used = [];
  try { used = JSON.parse(recall('cb.emoji') || '[]'); } catch (e) { used = []; }
  const signs = Array.isArray(used) ? used.filter((s) => typeof s === 'string') : [];
  return [...new Set([...signs, ...OFTEN])].slice(0, 8).map((s) => all().find((e) => e[0] === s)).filter(Boolean);
}

function remember(sign) {
  keep('cb.emoji', JSON.stringify([...new Set([sign, ...often().map((e) => e[0])])].slice(0, 8)));
}

export async function openPicker(button, place, take) {
  if (picker) return picker.close();
  const search = h('input', { type: 'search', 'aria-label': 'Search emoji', placeholder: 'Search emoji', autocomplete: 'off' });
  const list = h('div', { class: 'emo', role: 'group', 'aria-label': 'Emoji list' });
  const node = h('dialog', { class: 'pop picker', 'aria-label': 'Emoji', open: true }, search, list);
  picker = popover(button, node, place, { closed: () => { picker = null; } });
  if (matchMedia('(pointer:fine)').matches) search.focus();   // elsewhere the screen's keyboard would cover the panel
  try { await load(); } catch (e) { fill(list, h('p', { class: 'soft' }, 'The list did not arrive. Close this and try again.')); return; }
  const choose = (sign) => {
    remember(sign);
    picker.close(false);
    take(sign);
  };
  const draw = () => {
    const want = search.value.trim().toLowerCase();
    const found = all().filter((e) => fits(e, want));
    const groups = want ? [['Found', found]] : [['Often used', often()], ...data];
    fill(list, groups.map(([name, signs]) => [h('h2', { class: 'cap' }, want && !signs.length ? 'Nothing of that name' : name),
      signs.map(([sign, label]) => h('button', { type: 'button', 'aria-label': label, title: label, tabindex: -1, onclick: () => choose(sign) }, sign))]).flat(3));
    const first = list.querySelector('button');
    if (first) first.tabIndex = 0;
    list.scrollTop = 0;
  };
  search.addEventListener('input', draw);
  search.addEventListener('keydown', (e) => {
    const first = list.querySelector('button');
    if (!first || (e.key !== 'Enter' && e.key !== 'ArrowDown')) return;
    e.preventDefault();
    if (e.key === 'Enter') first.click();
    else first.focus();
  });
  list.addEventListener('keydown', (e) => move(e, list, search));
  draw();
}

// Arrow keys go through the grid, so that it is one stop for Tab.
function move(e, list, search) {
  const buttons = [...list.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement);
  const up = (dir) => {
    const here = buttons[at].getBoundingClientRect();
    let best = null;
    for (let i = at + dir; buttons[i]; i += dir) {
      const box = buttons[i].getBoundingClientRect();
      if (Math.abs(box.top - here.top) < 4) continue;
      if (best !== null && Math.abs(box.top - best.top) > 4) break;
      if (best === null || Math.abs(box.left - here.left) < Math.abs(best.left - here.left)) best = Object.assign(box, { i });
    }
    return best ? best.i : -1;
  };
  const side = getComputedStyle(list).direction === 'rtl' ? -1 : 1;
  const to = { ArrowRight: at + side, ArrowLeft: at - side, ArrowDown: 0, ArrowUp: 0, Home: 0, End: buttons.length - 1 }[e.key];
  if (to === undefined || at < 0) return;
  const next = e.key === 'ArrowDown' ? up(1) : e.key === 'ArrowUp' ? up(-1) : to;
  e.preventDefault();
  if (next < 0 || !buttons[next]) { if (e.key === 'ArrowUp') search.focus(); return; }
  buttons[at].tabIndex = -1;
  buttons[next].tabIndex = 0;
  buttons[next].focus();
}
