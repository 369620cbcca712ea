import { at, onAction, say } from '../dom.js';
import { act, refusalOf } from '../exchange.js';
import { refresh, refreshAllTabs, visitor } from '../visitor.js';

const name = at('username');

name.addEventListener('input', () => {
  const blank = name.value !== '' && !/[\p{L}\p{N}\p{P}\p{S}]/u.test(name.value);
  name.setCustomValidity(blank ? 'Write a name. Blanks alone are not one.' : '');
});

onAction(at('log-in-form'), async () => {
  const exchange = await act('log-in', 'POST', `/get_session?username=${encodeURIComponent(name.value.trim())}`);
  await refreshAllTabs();
  if (exchange.status !== 200) say('log-in', refusalOf(exchange), 'bad');
  else if (visitor.session) say('log-in', `You now have a session, ${exchange.body.user.username}.`, 'good');
  else
    say(
      'log-in',
      isSecureContext
        ? 'The server made a session, and your browser did not keep its cookie. Does it block cookies?'
        : 'The server made a session, and your browser threw its cookie away: it is Secure, and this page came over plain HTTP. See the note above.',
      'bad',
    );
});

onAction(at('ask-secure'), async () => {
  const exchange = await act('log-in', 'GET', '/secure');
  if (exchange.status === 200) say('log-in', `${exchange.body.message}.`, 'good');
  else say('log-in', refusalOf(exchange), 'bad');
  await refresh();
});

async function logOut() {
  const exchange = await act('log-out', 'POST', '/leave_session');
  if (exchange.status === 200) say('log-out', 'You no longer have a session.', 'good');
  else say('log-out', refusalOf(exchange), 'bad');
  await refreshAllTabs();
}

onAction(at('leave'), logOut);
onAction(at('bar-log-out'), logOut);
