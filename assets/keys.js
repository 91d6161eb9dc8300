// The keyboard help, opened with ? or from the account menu. Loaded when it is opened.
import { h } from './dom.js';
import { modal } from './dialog.js';

const KEYS = [
  ['Send the message', 'Enter'], ['New line', 'Shift Enter'], ['Edit my last message (box empty)', '↑'], ['Complete a name or an emoji', '@ :'],
  ['From the list to the box', 'any letter'], ['Move among messages (list in focus)', '↑ ↓'], ['Reply to the message in focus', 'R'],
  ['Edit my message in focus', 'E'], ['Delete the message in focus', 'Delete'], ['Who has seen my message in focus', 'Enter'],
  ['Next or previous room with unread', 'Alt ↓ ↑'], ['Jump to the first unread', 'Alt N'], ['Jump to latest', 'End'], ['Close what is open', 'Esc'], ['This help', '?'],
];

let shown = null;
export function open() {
  if (shown) return;
  const keys = (text) => (text === 'any letter' ? [text] : text.split(' ').map((k, i) => [i ? ' ' : '', h('kbd', null, k)]).flat());
  shown = modal('Keyboard', h('div', { class: 'in', tabindex: 0, role: 'group', 'aria-label': 'Keys' },
    h('dl', { class: 'keys' }, KEYS.map(([what, how]) => [h('dt', null, what), h('dd', null, keys(how))]).flat())), { closed: () => { shown = null; } });
}
