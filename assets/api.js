// The HTTP API. This module alone calls fetch. The session is an HttpOnly cookie that the browser sends by
// itself; nothing here ever holds a token. A failure is an ApiError with the server's code and a sentence.

export class ApiError extends Error {
  constructor(status, code, message, retry) {
    super(message);
    this.status = status;
    this.code = code;
    this.retry = retry;      // seconds to wait, or 0
  }
}

export async function call(method, path, body) {
  const options = { method, credentials: 'same-origin', cache: 'no-store', headers: {} };
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (e) {
    throw new ApiError(0, 'offline', 'The server does not answer. Check the connection and try again.', 0);
  }
  let data = null;
  if (answer.status !== 204) {
    try { data = await answer.json(); } catch (e) { data = null; }
  }
  if (answer.ok) return data;
  const retry = Number(answer.headers.get('Retry-After')) || 0;
  throw new ApiError(answer.status, (data && data.error) || 'unknown',
    (data && data.message) || `The server answered with status ${answer.status}.`, retry);
}

// All pages of a list, up to a bound that keeps one huge server from filling a phone.
export async function pages(path, key, cursor, most = 2000) {
  const all = [];
  let after = '';
  for (;;) {
    const data = await call('GET', `${path}${path.includes('?') ? '&' : '?'}limit=200${after}`);
    const list = (data && data[key]) || [];
    all.push(...list);
    if (!data || !data.more || !list.length || all.length >= most) return all;
    after = '&after=' + encodeURIComponent(cursor(list[list.length - 1]));
  }
}

// What a refusal means to a person, in one sentence. `what` says what was tried, for sentences that differ by it.
const SENTENCES = {
  bad_credentials: 'That name and password do not match. Check for Caps Lock and try again.',
  name_taken: 'That name is taken. Choose another one.',
  bad_username: 'A username has 1 to 32 letters, digits, _, - or . , begins with a letter or digit and does not end in a full stop.',
  bad_password: 'Choose a password of 8 to 128 characters that is not your username and not one of the most common ones.',
  stop_word: 'That holds a word that is not allowed here. Choose another one.',
  registration_closed: 'New accounts are not open here. Ask the administrator to make one for you.',
  bad_invite: 'This invitation is not valid any more, or it is missing. Ask for a new link.',
  blocked: 'This account is blocked. An administrator can open it again.',
  bad_name: 'A room name has 1 to 64 letters, digits, spaces, _, - or .',
  not_found: 'There is nothing of that name here.',
  forbidden: 'You may not do that here.',
  storage_full: 'The server’s disk is full. Tell the administrator.',
  unavailable: 'The server could not store that just now. Try again in a moment.',
};

export function sentence(error, instead = {}) {
  if (error.status === 429 || error.code === 'rate_limited')
    return `Too many tries. Wait ${waiting(error.retry || 60)} and try again.`;
  return instead[error.code] || SENTENCES[error.code] || error.message || 'That did not work.';
}

function waiting(seconds) {
  if (seconds < 90) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}
