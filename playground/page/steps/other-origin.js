import { at, element, say } from '../dom.js';
import { on } from '../events.js';
import { show } from '../exchange.js';
import { visitor } from '../visitor.js';

on('refused', async exchange => {
  await show('other', { ...exchange, reason: 'Forbidden' });
  say(
    'other',
    `Refused: the request came from ${exchange.headers.Origin}. The cookie was with it, and did not help.`,
    'good',
  );
});

/** Frames the page of another origin, where there is one. It speaks plain HTTP, which a page that came over TLS cannot frame. */
export function frameOtherOrigin(port) {
  if (!port || location.protocol !== 'http:') return;
  const origin = `http://${location.hostname}:${port}`;
  const frame = element('iframe');
  frame.title = 'A page of another origin';
  frame.src = `${origin}/`;
  at('frame').replaceChildren(element('p', 'frame-address', origin), frame);
  addEventListener('message', ({ origin: from, data }) => {
    if (from === origin && data === 'sent' && !visitor.session)
      say('other', 'Sent, and refused. Log in, and the answer shows here.');
  });
}
