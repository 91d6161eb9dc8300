// Small helpers to make nodes: elements, icons from the sprite, avatars, names. Everything that people wrote
// goes through text nodes or attributes here; nothing on the page is ever made from a string of markup.

const SPRITE = new URL('icons.svg', import.meta.url).href;
const SVG = 'http://www.w3.org/2000/svg';

export const $ = (selector, root = document) => root.querySelector(selector);

// h('a', {class: 'it', href: '#', onclick: fn}, 'text', node): null and false, among properties and children, are left out.
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const key in props) {
    const value = props[key];
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  put(node, ...children);
  return node;
}

export function put(node, ...children) {
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

export function fill(node, ...children) {
  node.textContent = '';
  return put(node, ...children);
}

export function icon(name, flip) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', flip ? 'i flip' : 'i');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', SPRITE + '#' + name);
  svg.append(use);
  return svg;
}

export function picture(name, cls, box) {
  const svg = icon(name);
  svg.setAttribute('class', cls);
  svg.setAttribute('viewBox', box);
  return svg;
}

export function iconButton(label, name, onclick, more) {
  return h('button', { type: 'button', class: 'ic', 'aria-label': label, title: label, onclick, ...more },
    icon(name, name === 'reply' || name === 'back' || name === 'out'));
}

export function button(label, onclick, cls = '', more) {
  return h('button', { type: 'button', class: ('btn ' + cls).trim(), onclick, ...more }, label);
}

// What is drawn anew under a pressed button would take the click along: true, and drawn later, once, while that is so.
export function pressed(node, draw) {
  clearTimeout(node.later);
  return node.matches(':active') && (node.later = setTimeout(draw, 99));
}

export const hidden = (text) => h('span', { class: 'vh' }, text);
export const lamp = (on) => h('span', { class: on ? `lamp ${on === true ? 'on' : on}` : 'lamp', 'aria-hidden': 'true' });

export const nameOf = (user) => (user && (user.display_name || user.username)) || '';

// Two letters and one of six hues, so that a face is found again at a glance. Ideographs stand alone.
export function avatar(user, small, mark) {
  const words = nameOf(user).split(/[\s._-]+/).filter((w) => /[\p{L}\p{N}]/u.test(w));
  const sign = (word) => [...word].filter((c) => /[\p{L}\p{N}]/u.test(c));
  const first = words.length ? sign(words[0]) : ['?'];
  let letters = first[0];
  if (letters.codePointAt(0) < 0x2e80) letters += words.length > 1 ? sign(words[1])[0] : first[1] || '';
  let hash = 0;
  for (const c of user.username || '') hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  return h('span', { class: `av c${hash % 6}${small ? ' sm' : ''}`, 'aria-hidden': 'true' }, letters.toUpperCase(), mark);
}

// An error above a form or in a dialog: what a screen reader must hear at once.
export const alertBox = (...text) =>
  h('div', { class: 'alert f', role: 'alert' }, icon('alert'), h('span', { class: 'grow' }, ...text));

// Forms are `novalidate`: a browser's own bubble is no alert. wrong() says what is amiss and goes to the field; filled()
// clears what an earlier try said and asks for the first field that lacks what `data-need` of it says.
export function wrong(field, errors, text) {
  fill(errors, alertBox(text));
  if (!field) return;
  field.setAttribute('aria-invalid', 'true');
  field.focus();
}
export function filled(form, errors) {
  errors.textContent = '';
  for (const f of form.elements) f.removeAttribute('aria-invalid');
  const lacks = [...form.elements].find((f) => f.required && (f.type === 'password' ? [...f.value].length < Math.max(1, f.minLength) : !f.value.trim()));
  if (lacks) wrong(lacks, errors, lacks.dataset.need);
  return !lacks;
}

// localStorage may be full or forbidden; then the page works on without a memory.
export function recall(key) {
  try { return localStorage.getItem(key); } catch (e) { return null; }
}
export function keep(key, value) {
  try {
    if (value === null || value === '') localStorage.removeItem(key);
    else localStorage.setItem(key, value);
    return true;
  } catch (e) { return false; }
}
