// Turns the text of a message into nodes: a small safe subset of Markdown, links and @mentions. This module
// alone does so. It only creates elements and text nodes, never markup from a string; a link is made for
// http and https alone and shows the address it leads to. Each scan moves forward only, so that a hostile
// text costs no more than its length.
import { h } from './dom.js';

const FENCE = /^\s{0,3}```\s*$/;
const FENCE_OF = /^\s{0,3}```[\w+#.-]+\s*$/;  // with a language, which is not shown
const FENCE_AND = /^\s{0,3}```([^`]*)$/;       // with more words, which are
const TICKS = /`+/y;
const BULLET = /^\s{0,3}[-*•]\s+(.*)$/;
const NUMBER = /^\s{0,3}(\d{1,9})[.)]\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const URL_AT = /https?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/iy;
const NAME_AT = /@([\p{L}\p{N}][\p{L}\p{N}_.-]{0,31})/uy;
// Before or behind a * (and before an @) no letter of a script that parts its words by spaces: 2*3*4 is a product, 这是*强调*的 is stressed.
const PARTED = /[\p{Script=Latin}\p{N}]/u;
const WORD = /[\p{L}\p{N}_]/u;

// who(name) tells whether an @name is a person here: null, {username} or {username, you: true}.
export function blocks(text, who) {
  const lines = text.split('\n');
  let last = lines.length - 1;
  while (last > 0 && !FENCE.test(lines[last])) last--;
  // With a language only before some code, with more words only where that ends: else it may be all that was said.
  const opens = (i) => FENCE.test(lines[i]) ||
    (i + 1 < lines.length && !FENCE.test(lines[i + 1]) && (FENCE_OF.test(lines[i]) || (last > i && FENCE_AND.test(lines[i]))));
  const out = [];
  let i = 0;
  while (i < lines.length) {
    if (!lines[i].trim()) { i++; continue; }
    if (opens(i)) {
      const words = FENCE_OF.test(lines[i]) ? '' : FENCE_AND.exec(lines[i])[1].trim();
      let end = i + 1;
      while (end < lines.length && !FENCE.test(lines[end])) end++;
      out.push(h('pre', { tabindex: 0, role: 'group', 'aria-label': 'Code', dir: 'ltr' },
        h('code', null, (words ? [words] : []).concat(lines.slice(i + 1, end)).join('\n'))));
      i = end + 1;
    } else if (QUOTE.test(lines[i])) {
      const inner = [];
      for (let m; i < lines.length && (m = QUOTE.exec(lines[i])); i++) inner.push(m[1]);
      out.push(h('blockquote', { dir: 'auto' }, breaks(inner, who)));
    } else if (BULLET.test(lines[i]) || NUMBER.test(lines[i])) {
      const kind = BULLET.test(lines[i]) ? BULLET : NUMBER;
      const first = kind.exec(lines[i]);
      const list = h(kind === BULLET ? 'ul' : 'ol', { dir: 'auto', start: kind === NUMBER && first[1] !== '1' && first[1] });
      for (let m; i < lines.length && (m = kind.exec(lines[i])); i++) list.append(h('li', { dir: 'auto' }, inline(m[m.length - 1], who)));
      out.push(list);
    } else {
      const para = [];
      while (i < lines.length && lines[i].trim() && !opens(i) && !QUOTE.test(lines[i]) &&
             !BULLET.test(lines[i]) && !NUMBER.test(lines[i])) para.push(lines[i++]);
      out.push(h('p', { dir: 'auto' }, breaks(para, who)));
    }
  }
  return out;
}

function breaks(lines, who) {
  return lines.flatMap((line, n) => (n ? [h('br'), ...inline(line, who)] : inline(line, who)));
}

// One line: `code` first, for it shields what is in it, then links and names, then **bold** and *italic*.
export function inline(s, who, depth = 0) {
  const out = [];
  const closed = {};          // markers known to have no end further on: each is looked for once
  let plain = '';
  const flush = () => { if (plain) out.push(plain); plain = ''; };
  const ends = (mark, from) => {
    if (closed[mark]) return -1;
    let at = s.indexOf(mark, from);
    while (at >= 0 && mark[0] !== '`' && /\s/.test(s[at - 1])) at = s.indexOf(mark, at + mark.length);
    if (at < 0) closed[mark] = true;
    return at;
  };
  for (let i = 0; i < s.length;) {
    const c = s[i];
    if (c === '`') {
      TICKS.lastIndex = i;
      const mark = TICKS.exec(s)[0], from = i + mark.length, end = ends(mark, from);
      if (end > 0) {
        flush();
        out.push(h('code', { dir: 'ltr' }, s.slice(from, end)));
        i = end + mark.length;
      } else {
        plain += mark;
        i = from;
      }
      continue;
    } else if ((c === 'h' || c === 'H') && !WORD.test(s[i - 1] || ' ')) {
      URL_AT.lastIndex = i;
      const m = URL_AT.exec(s);
      const url = m && trimmed(m[0]);
      if (url && safe(url)) {
        flush();
        out.push(h('a', { href: url, rel: 'noopener noreferrer', target: '_blank', dir: 'ltr' }, url));
        i += url.length;
        continue;
      }
    } else if (c === '@' && !PARTED.test(s[i - 1] || ' ')) {
      NAME_AT.lastIndex = i;
      const m = NAME_AT.exec(s);
      let name = m ? m[1] : '';
      let user = null;
      for (; name && !(user = who(name)); name = name.slice(0, -1)) if (!/[._-]$/.test(name)) break;
      if (user) {
        flush();
        out.push(h('span', { class: user.you ? 'at you' : 'at', dir: 'auto' }, '@' + name));
        i += name.length + 1;
        continue;
      }
    } else if ((c === '*' || c === '_') && depth < 4) {
      const mark = s[i + 1] === c ? c + c : c;
      const open = i + mark.length;
      const letter = c === '*' ? PARTED : WORD;
      const outside = !letter.test(s[i - 1] || ' ');
      if (outside && s[open] && !/\s/.test(s[open]) && s[open] !== c) {
        const end = ends(mark, open + 1);
        const alone = end > 0 && !letter.test(s[end + mark.length] || ' ');
        if (alone) {
          flush();
          out.push(h(mark.length === 2 ? 'strong' : 'em', null, inline(s.slice(open, end), who, depth + 1)));
          i = end + mark.length;
          continue;
        }
      }
      plain += mark;
      i = open;
      continue;
    }
    plain += c;
    i++;
  }
  flush();
  return out;
}

// The full stop or bracket after an address belongs to the sentence; a bracket that was opened in it does not.
function trimmed(url) {
  let end = url.length;
  let open = 0;
  for (const c of url) open += c === '(' ? 1 : c === ')' ? -1 : 0;
  for (; end; end--) {
    const c = url[end - 1];
    if (c === ')' && open < 0) open++;
    else if (!/[.,;:!?*_~'"\]}»”’、。]/.test(c)) break;
  }
  return url.slice(0, end);
}
function safe(url) {
  try {
    const u = new URL(url);
    return (u.protocol === 'http:' || u.protocol === 'https:') && u.hostname !== '';
  } catch (e) { return false; }
}

// One line of a message for a quote: without marks, shortened by the stylesheet and here.
export const oneLine = (text) => [...text.replace(/```|\s+/g, ' ').trim()].slice(0, 140).join('');
