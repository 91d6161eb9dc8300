// What the page knows: me, rooms, people, messages, read marks. It takes in frames and tells listeners what
// changed; it draws nothing and sends nothing. A message, room or user is taken in only if its rev is higher
// than that of the one held (PROTOCOL §1).

export const state = {
  me: null, server: 'ChatterBox', limits: { text: 4000 },
  rooms: new Map(), users: new Map(), online: new Set(), members: new Map(),
  room: 1,                    // the room in view
  version: 0,                 // grows whenever a name may have changed
};

const listeners = {};
export function on(names, fn) {
  for (const name of names.split(' ')) (listeners[name] = listeners[name] || []).push(fn);
}
export function emit(name, detail) {
  for (const fn of listeners[name] || []) fn(detail);
}

export const fold = (name) => name.normalize('NFKC').toLowerCase();
export const room = (id = state.room) => state.rooms.get(id);
export const user = (name) => state.users.get(name) || { username: name };
export const isMe = (name) => state.me !== null && name === state.me.username;

const folded = new Map();     // folded name → username, for @mentions
export function person(name) {
  const username = folded.get(fold(name));
  return username ? { username, you: isMe(username) } : null;
}

// A room holds the newest part of its messages without a gap: from the oldest in `msgs` to the present.
// `base` is the rev from which on every new message has come to us; `counted` the one up to which the
// server's number of unread messages counts; `more` whether there are older ones (unknown: null); `began` the
// rev of the membership that it was made for; `passed` what changed outside of the part that is held.
function makeRoom(info, base, counted = base) {
  return { ...info, seen_by: Object.assign(Object.create(null), info.seen_by), seen: info.seen || 0, unread: info.unread || 0, mentions: info.mentions || 0,
    msgs: [], byId: new Map(), passed: new Map(), loaded: false, more: null, base, counted, began: base, line: null };
}

export function welcome(f) {
  const before = [...state.rooms.values()];
  const fresh = !f.resumed || !state.me || state.me.username !== f.user.username;
  if (fresh) {
    state.rooms.clear();
    state.members.clear();
    state.users.clear();
    folded.clear();
    state.version++;
  }
  state.me = f.user;
  if (f.limits) state.limits = f.limits;
  if (f.server) state.server = f.server.name;
  takeUser(f.user);
  const there = new Set(f.rooms.map((r) => r.id));
  for (const id of [...state.rooms.keys()]) if (!there.has(id)) state.rooms.delete(id);
  for (const info of f.rooms) {
    const held = state.rooms.get(info.id);
    if (!held) state.rooms.set(info.id, makeRoom(info, f.rev));
    else {
      if (info.rev > held.rev) Object.assign(held, shared(info));
      Object.assign(held, { joined: true, seen: info.seen || 0, unread: info.unread || 0,
        mentions: info.mentions || 0, counted: f.rev });
      for (const name in info.seen_by) mark(held, name, info.seen_by[name]);
    }
  }
  emit('welcome', fresh);
  for (const r of before) if (!there.has(r.id)) emit('left', r);
  emit('rooms');
}

// What is the same for everybody.
const OWN = ['joined', 'with', 'seen', 'unread', 'mentions', 'seen_by'];
export function shared(info) {
  const out = { ...info };
  for (const key of OWN) delete out[key];
  return out;
}

export function takeRoom(f) {
  const id = f.room.id;
  const held = state.rooms.get(id);
  if (f.left) {
    if (held) { state.rooms.delete(id); state.members.delete(id); emit('left', held); }
  } else if (!held ? f.joined || f.room.joined : f.room.joined && f.rev > held.began) {
    // Having joined begins the room anew, even one that is held: we may have left it for a while without being told
    // before we were back, and what was said meanwhile passed us by.
    state.rooms.set(id, makeRoom({ ...f.room, joined: true }, f.rev, held ? Math.max(f.rev, held.counted) : f.rev));
    emit('joined', id);
  } else if (!held) {
    return; // news of a room that we are not in is not for us
  } else if (f.rev > held.rev) {
    Object.assign(held, shared(f.room), { rev: f.rev });
    emit('room', id);
  }
  emit('rooms');
}

export function takeUser(u) {
  const held = state.users.get(u.username);
  if (held && !(u.rev > held.rev)) return;
  state.users.set(u.username, u);
  if (u.deleted) folded.delete(fold(u.username));
  else folded.set(fold(u.username), u.username);
  if (isMe(u.username)) state.me = { ...state.me, ...u };
  state.version++;
  emit('users');
}

// A page of history: before the first it fills the room, later ones go in front. `of` is the room that it was asked for;
// one that has been left since and begun anew has to ask for its own.
export function takeHistory(f, of) {
  const r = state.rooms.get(f.room);
  if (!r || (of && of !== r)) return;
  const oldest = r.msgs.length ? r.msgs[0].id : Infinity;
  const fresh = [];
  for (const m of f.messages) {
    const later = r.passed.get(m.id);
    insert(r, later && later.rev > m.rev ? later : m) && fresh.push(m);
  }
  if (!f.messages.length || f.messages[0].id <= oldest) r.more = f.more;
  else if (r.more === null) r.more = true;
  const first = !r.loaded;
  r.loaded = true;
  emit('history', { id: r.id, first });
}

// A message of the log. Returns the room if it was taken in. Old messages that changed while they lie before
// what is held are left out: they come in their present state when somebody scrolls up to them.
export function takeMessage(m) {
  const r = state.rooms.get(m.room);
  if (!r) return null;
  const oldest = r.msgs.length ? r.msgs[0].id : Infinity;
  const inside = m.id > r.base || (r.loaded && (r.more === false || m.id >= oldest));
  if (!inside) {
    if (isLoss(r, m)) emit('unsure', 10000);
    r.passed.delete(m.id);
    r.passed.set(m.id, m); // a page that is on its way may be older
    if (r.passed.size > 200) r.passed.delete(r.passed.keys().next().value);
    return null;
  }
  const held = r.byId.get(m.id);
  const isNew = !held;
  if (!insert(r, m)) return null;
  if (held && !held.deleted && isLoss(r, m)) {
    if (r.unread === 999) emit('unsure', 10000);
    else r.unread--;
    if (mentionsMe(held) && r.mentions) r.mentions--;
    emit('rooms');
  }
  if (isNew && m.id > r.counted && m.id > r.seen && !isMe(m.sender) && !m.deleted) {
    r.unread = Math.min(999, r.unread + 1);
    if (mentionsMe(m)) r.mentions = Math.min(999, r.mentions + 1);
    emit('rooms');
  }
  r.last = Math.max(r.last || 0, m.id);
  emit('message', { room: r, message: m, isNew });
  return r;
}

// Has it been counted as unread, and is gone now?
const isLoss = (r, m) => m.deleted && r.unread > 0 && m.id > r.seen && m.rev > r.counted && !isMe(m.sender);

function insert(r, m) {
  const held = r.byId.get(m.id);
  if (held && !(m.rev > held.rev)) return false;
  r.byId.set(m.id, m);
  const at = find(r, m.id);
  if (held) r.msgs[at] = m;
  else r.msgs.splice(at, 0, m);
  return true;
}

// The place of the first message whose id is not below the given one.
export function find(r, id) {
  let a = 0;
  let b = r.msgs.length;
  if (!b || r.msgs[b - 1].id < id) return b;
  while (a < b) {
    const mid = (a + b) >> 1;
    if (r.msgs[mid].id < id) a = mid + 1;
    else b = mid;
  }
  return a;
}

function mark(r, name, id) {
  if (isMe(name)) r.seen = Math.max(r.seen, id);
  else if (id > (r.seen_by[name] || 0)) r.seen_by[name] = id;
}

export function takeSeen(f) {
  const r = state.rooms.get(f.room);
  if (!r) return;
  mark(r, f.user, f.id);
  if (isMe(f.user)) recount(r);
  emit('seen', f);
}

// The names of who is in a room: in the lobby, everybody; elsewhere as far as they were asked for.
export function membersOf(id) {
  if (id === 1) return [...state.users.values()].filter((u) => !u.deleted).map((u) => u.username);
  return state.members.get(id) || [];
}

// What is still unread after one's own mark moved. Where not all of that is held, the server has to be asked.
export function recount(r) {
  if (r.more === false || r.seen >= Math.min(r.last, r.base, r.msgs.length ? r.msgs[0].id : r.base)) number(r, r.seen, 0, 0);
  else emit('unsure');
}

// So much up to a message, and what is held of later ones.
function number(r, id, unread, mentions) {
  const rest = r.msgs.slice(find(r, id + 1)).filter((m) => !isMe(m.sender) && !m.deleted);
  r.unread = Math.min(999, unread + rest.length);
  r.mentions = Math.min(999, mentions + rest.filter(mentionsMe).length);
  emit('rooms');
}

// What the server counts. It may be ahead of the log, or not have heard of the mark yet.
export function takeCounts(infos) {
  for (const info of infos) {
    const r = state.rooms.get(info.id);
    if (!r || !(info.seen >= r.seen)) continue;
    r.seen = info.seen;
    r.counted = Math.max(r.counted, info.last);
    number(r, Math.max(info.seen, info.last), info.unread, info.mentions);
  }
}

export function highestMark(r) {
  let top = 0;
  for (const name in r.seen_by) top = Math.max(top, r.seen_by[name]);
  return top;
}

export function mentionsMe(m) {
  if (!state.me) return false;
  if (Array.isArray(m.mentions)) return m.mentions.includes(state.me.username);
  const text = fold(m.text);
  const me = '@' + fold(state.me.username);
  for (let at = text.indexOf(me); at >= 0; at = text.indexOf(me, at + 1))
    if (!/[\p{L}\p{N}_-]/u.test(text[at + me.length] || ' ') && !/[\p{L}\p{N}_]/u.test(text[at - 1] || ' ')) return true;
  return false;
}

export function takePresence(f) {
  if (f.type === 'ready') state.online = new Set(f.online || []);
  for (const name of (f.type === 'presence' && f.online) || []) state.online.add(name);
  for (const name of f.offline || []) state.online.delete(name);
  if (state.me) state.online.add(state.me.username);      // whom else would this page be connected for
  emit('presence');
}

// Author, owner of the room, moderator and administrator may delete; only the author edits.
export function mayDelete(m) {
  const r = state.rooms.get(m.room);
  return isMe(m.sender) || state.me.role === 'moderator' || state.me.role === 'admin' || (r && isMe(r.owner));
}
