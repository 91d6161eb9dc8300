// The two forms at the door: log in and create an account. On success the server has set the cookie and the page goes
// to the chat. An invitation comes in the fragment (#invite=TOKEN), which reaches no log, and goes with the form.
import { $, filled, wrong } from './dom.js';
import { call, sentence } from './api.js';

const form = $('form');
const errors = $('#errors');
const submit = $('button', form);
const { username, password } = form.elements;
const registering = form.dataset.call === 'register';
const invite = () => new URLSearchParams(location.hash.slice(1)).get('invite');

for (const node of document.querySelectorAll('[data-origin]')) node.textContent = location.origin;
// An invitation, and the room that the link led to, go on to the other form; the room then to the chat.
const toRoom = /^#r\d+$/.test(location.hash) ? location.hash : '';
if (invite() || toRoom) $('#other').hash = location.hash;
if (invite() && registering) $('#invited').hidden = false;

// chat.js leaves a word when the session ended without the person's own doing. What was typed before the page knew whose
// it is goes: who enters next may be somebody else.
try {
  const ended = $('#ended');
  if (ended && sessionStorage.getItem('cb.ended')) ended.hidden = false;
  sessionStorage.removeItem('cb.ended');
  sessionStorage.removeItem('cb.early');
} catch (e) { /* storage may be off */ }

form.addEventListener('submit', async (e) => {
  e.preventDefault();
  if (submit.disabled || !filled(form, errors)) return;
  submit.disabled = true;
  const body = { username: username.value.trim(), password: password.value };
  if (registering && invite()) body.invite = invite();
  try {
    await call('POST', `/api/${form.dataset.call}`, body);
    location.replace('/' + toRoom);
    return;
  } catch (error) {
    const field = /username|name_taken|stop_word/.test(error.code) ? username : /password|credentials/.test(error.code) ? password : null;
    wrong(field, errors, sentence(error, {
      stop_word: 'That name holds a word that is not allowed here. Choose another one.',
      blocked: 'This account is blocked. An administrator can open it again.',
    }));
    if (field === password && !registering) password.select();
  }
  submit.disabled = false;
  if (document.activeElement === document.body) submit.focus();
});
submit.disabled = false;
