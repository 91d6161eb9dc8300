// What opens above the page and closes again: modal dialogs and small popovers. It owns Esc, the click beside it
// and the return of the focus. Browsers without <dialog> get the veil of the stylesheet and a focus kept inside by hand.
import { h, iconButton } from './dom.js';
import { emit } from './store.js';

const open = [];              // popovers and dialogs, the newest last; each has close()

const FOCUSABLE = 'button:not([disabled]),a[href],input:not([disabled]),textarea,select,[tabindex="0"]';

export const anyOpen = () => open.length > 0;

// A modal dialog with a title. content: nodes; actions: buttons for the end of it. Returns {node, close}.
export function modal(title, content, { actions, wide, closed } = {}) {
  const back = document.activeElement;
  const id = 'd' + Math.random().toString(36).slice(2, 8);
  const close = () => {
    if (!node.isConnected) return;
    open.splice(open.indexOf(self), 1);
    if (veil) veil.remove();
    else { node.close(); node.remove(); }
    giveBack(back);
    emit('closed');
    if (closed) closed();
  };
  const node = h('dialog', { class: wide ? 'dlg wide' : 'dlg', 'aria-labelledby': id, 'aria-modal': 'true' },
    h('header', { class: 'bar' }, h('h2', { class: 'grow', id }, title), iconButton('Close', 'close', close)),
    content, actions && h('div', { class: 'bar end' }, actions));
  const self = { node, close };
  let veil = null;
  if (typeof node.showModal === 'function') {
    document.body.append(node);
    node.showModal();
    node.addEventListener('cancel', (e) => { e.preventDefault(); close(); });
    // A press that begins in the dialog and ends beside it, as in marking a text, is no click beside it.
    let down = null;
    node.addEventListener('pointerdown', (e) => { down = e.target; });
    node.addEventListener('click', (e) => { if (e.target === node && down === node) close(); });
  } else {
    node.setAttribute('open', '');
    veil = h('div', { class: 'veil' }, node);
    document.body.append(veil);
    node.addEventListener('keydown', (e) => {
      if (e.key === 'Escape') { e.preventDefault(); e.stopPropagation(); close(); }
      if (e.key !== 'Tab') return;
      const all = [...node.querySelectorAll(FOCUSABLE)];
      const end = all[e.shiftKey ? 0 : all.length - 1];
      if (document.activeElement === end) { e.preventDefault(); all[e.shiftKey ? all.length - 1 : 0].focus(); }
    });
  }
  open.push(self);
  // Under a finger a field in focus would bring the screen's keyboard, and that would cover half of what opens.
  (node.querySelector('[autofocus]') || (matchMedia('(pointer:fine)').matches && node.querySelector('input')) || node.querySelector(FOCUSABLE)).focus();
  return self;
}

// A tool of a message shows only while the message has the focus: that one first.
function giveBack(node) {
  if (!node || !node.isConnected) return;
  const message = node.closest('.msg');
  if (message) message.focus({ preventScroll: true });
  node.focus({ preventScroll: true });
}

// A question with one way to go on. Resolves to true if that way was taken. opened: is given what closes it without an answer.
export function confirm(title, text, yes, opened) {
  return new Promise((resolve) => {
    let answer = false;
    const go = h('button', { type: 'button', class: 'btn bad', autofocus: true, onclick: () => { answer = true; d.close(); } }, yes);
    const no = h('button', { type: 'button', class: 'btn', onclick: () => d.close() }, 'Cancel');
    const d = modal(title, h('div', { class: 'in' }, text), { actions: [no, go], closed: () => resolve(answer) });
    if (opened) opened(d.close);
  });
}

// A phone's back gesture closes what is open instead of leaving the page, where the browser tells of it; a modal <dialog>
// hears of it by itself. Returns what to call when it has closed some other way.
export function onBack(close) {
  if (typeof CloseWatcher !== 'function') return () => {};
  const watcher = new CloseWatcher();
  watcher.onclose = close;
  return () => watcher.destroy();
}

// A popover that belongs to a button: Esc and a click elsewhere close it, aria-expanded tells of it.
export function popover(button, node, place, { closed } = {}) {
  const self = {
    node,
    close(focus = true) {
      if (!node.isConnected) return;
      open.splice(open.indexOf(self), 1);
      node.remove();
      forget();
      button.setAttribute('aria-expanded', 'false');
      document.removeEventListener('pointerdown', beside, true);
      if (closed) closed();
      if (focus) button.focus();
    },
  };
  const beside = (e) => { if (!node.contains(e.target) && !button.contains(e.target)) self.close(false); };
  document.addEventListener('pointerdown', beside, true);
  node.addEventListener('focusout', (e) => {
    if (e.relatedTarget && !node.contains(e.relatedTarget) && !button.contains(e.relatedTarget)) self.close(false);
  });
  const forget = onBack(() => self.close());
  open.push(self);
  place.prepend(node);
  button.setAttribute('aria-expanded', 'true');
  return self;
}

document.addEventListener('keydown', (e) => {
  if (e.key !== 'Escape' || e.defaultPrevented || !open.length) return;
  const last = open[open.length - 1];
  if (last.node.tagName === 'DIALOG' && last.node.classList.contains('dlg')) return;   // it hears Esc itself
  e.preventDefault();
  last.close();
});
