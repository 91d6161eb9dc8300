// Times, dates and counts in the reader's own locale and zone. A time before 2020 comes from a clock that was
// not set: it is shown as unknown, never as nonsense.

const KNOWN = Date.UTC(2020, 0, 1);
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });
const moment = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' });
const near = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const far = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const numbers = new Intl.NumberFormat();

export const known = (ms) => Number.isFinite(ms) && ms >= KNOWN && ms < 8e15;
export const count = (n) => numbers.format(n);
export const time = (ms) => (known(ms) ? clock.format(ms) : 'time unknown');
export const fullTime = (ms) => (known(ms) ? whole.format(ms) : 'The time is not known');
export const shortDate = (ms) => (known(ms) ? moment.format(ms) : 'at an unknown time');

export function day(ms) {
  if (!known(ms)) return 0;
  const d = new Date(ms);
  return (d.getFullYear() * 12 + d.getMonth()) * 31 + d.getDate();
}

export function dayLabel(ms, now = Date.now()) {
  if (!known(ms)) return 'Date unknown';
  const today = new Date(now);
  if (day(ms) === day(now)) return 'Today';
  if (day(ms) === day(new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1).getTime())) return 'Yesterday';
  return (new Date(ms).getFullYear() === today.getFullYear() ? near : far).format(ms);
}

// Text for places that cannot isolate it (the tab's title): controls that turn the writing direction are taken out.
export const plain = (s) => String(s).replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '');
