import { at, onAction, say } from '../dom.js';
import { isLive, on } from '../events.js';
import { refusalOf, send, show, Trail } from '../exchange.js';
import { refreshAllTabs } from '../visitor.js';

let begun = () => undefined;
on('begun', () => begun());

/** Resolves once the server tells that the slow request has its session; without a stream, after a second. */
function untilBegun() {
  return new Promise(resolve => {
    begun = resolve;
    if (!isLive()) setTimeout(resolve, 1000);
  });
}

onAction(at('go-slow'), async () => {
  const trail = new Trail('slow-trail');
  const copied = await send('POST', '/thief/copies');
  if (copied.status !== 200) {
    await show('slow', copied);
    return say('slow', refusalOf(copied), 'bad');
  }
  say('slow', 'The slow request is under way …');
  const began = untilBegun();
  const answering = send('POST', '/apples/slowly');
  await Promise.race([began, answering]);
  const left = await send('POST', '/leave_session');
  trail.add(left, 'You log out, while the slow request works with your session.');
  const slow = await answering;
  trail.add(slow, 'The slow request is done, and wants to save an apple. There is no session to save it in.');
  const replayed = await send('GET', '/secure', `copy ${copied.body.copy}`);
  trail.add(replayed, 'The same cookie once more. Nothing came back.');
  await show('slow', slow);
  const holds = left.status === 200 && slow.status === 409 && replayed.status === 403;
  say(
    'slow',
    holds ? 'Logged out is logged out. Log in again to go on.' : 'That should not be.',
    holds ? 'good' : 'bad',
  );
  await refreshAllTabs();
});
