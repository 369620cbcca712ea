import { at, clockTime, duration, element, fact, onAction, say } from '../dom.js';
import { on } from '../events.js';
import { act, refusalOf, send, show, Trail } from '../exchange.js';
import {
  onChange,
  onTick,
  redraw,
  refresh,
  refreshAllTabs,
  remaining,
  setTime,
  undisturbed,
  visitor,
} from '../visitor.js';

const ACTIVE_EVERY = 14 * 60;

onChange(session => {
  const panel = at('session-panel');
  if (!session) {
    panel.replaceChildren(element('p', 'empty', 'No session yet. Its two clocks appear here.'));
    return;
  }
  const facts = element('dl', 'facts');
  facts.append(
    fact('Id', element('code', 'id part-id', session.id)),
    fact('Principal', session.data.username),
    fact('Logged in', clockTime(session.authenticatedAt)),
    fact('Idle timeout', gauge('idle-gauge')),
    fact('Absolute timeout', gauge('absolute-gauge')),
  );
  panel.replaceChildren(facts);
});

function gauge(id) {
  const block = element('span', 'gauge');
  const bar = element('progress');
  bar.id = id;
  const text = element('span', 'gauge-text');
  text.id = `${id}-text`;
  bar.setAttribute('aria-labelledby', text.id);
  block.append(bar, text);
  return block;
}

onTick(session => {
  if (!session) return;
  const { idle, absolute } = remaining(session);
  drawGauge('idle-gauge', idle, session.limits.idleTimeout);
  drawGauge('absolute-gauge', absolute, session.limits.absoluteTimeout);
});

function drawGauge(id, left, whole) {
  const bar = at(id);
  if (!bar) return;
  bar.max = whole;
  bar.value = Math.max(0, left);
  at(`${id}-text`).textContent = `in ${duration(left)}`;
}

on('clock', ({ now, ahead }) => {
  setTime(now);
  at('ahead').textContent =
    ahead > 0 ? `The server’s clock is ${duration(ahead)} ahead.` : 'The server’s clock is right.';
  redraw();
});

onAction(at('show-session'), async () => {
  const exchange = await act('session', 'GET', '/session');
  if (exchange.status === 200) say('session', 'Reading it counts as being active: the idle clock starts anew.');
  else say('session', refusalOf(exchange), 'bad');
  await refresh();
});

/** Sends the request that moves the clock. It counts as activity of the session, just before the time passes. */
async function move(seconds) {
  const exchange = await send('POST', `/clock?seconds=${seconds}`);
  if (exchange.status === 200 && visitor.session) {
    visitor.session.lastSeenAt = exchange.body.before;
    setTime(exchange.body.now);
  }
  return exchange;
}

for (const button of document.querySelectorAll('[data-move]')) {
  onAction(button, () =>
    undisturbed(async () => {
      const before = visitor.session;
      const exchange = await move(Number(button.dataset.move));
      await show('session', exchange);
      if (exchange.status !== 200) return say('session', refusalOf(exchange), 'bad');
      const left = before && Math.min(...Object.values(remaining(before)));
      if (!before) return say('session', 'Time passed.');
      if (left > 0) {
        redraw();
        return say('session', `Still good. Without a request it is over in ${duration(left)}.`, 'good');
      }
      const answer = await act('session', 'GET', '/secure');
      if (answer.status === 403)
        say('session', 'Over, although nobody ended it: there was no request for too long.', 'good');
      else say('session', 'That should not be: it is still good.', 'bad');
      await refreshAllTabs();
    }),
  );
}

onAction(at('be-active'), () =>
  undisturbed(async () => {
    const trail = new Trail('clock-trail');
    let answer = await send('GET', '/session');
    if (answer.status !== 200) {
      trail.add(answer, 'Log in first.');
      return say('session', refusalOf(answer), 'bad');
    }
    let times = 0;
    let before = answer;
    while (answer.status === 200) {
      const moved = await move(ACTIVE_EVERY);
      if (moved.status !== 200) return say('session', refusalOf(moved), 'bad');
      before = answer;
      answer = await send('GET', '/session');
      if (answer.status === 200) {
        times++;
        visitor.session = answer.body;
        redraw();
      }
    }
    trail.add(before, `${times} times: 14 minutes pass, then a request. Never idle, always let in.`);
    trail.add(
      answer,
      `Once more, ${duration((times + 1) * ACTIVE_EVERY)} after the log-in. Activity never extends the absolute timeout.`,
    );
    await show('session', answer);
    // Another tab may have asked first, and have had the event.
    const had = (times + 1) * ACTIVE_EVERY >= before.body.limits.absoluteTimeout;
    if (answer.status === 403 && had) say('session', 'Over after eight hours, however active you were.', 'good');
    else say('session', refusalOf(answer), 'bad');
    await refreshAllTabs();
  }),
);

onAction(at('set-right'), async () => {
  const exchange = await act('session', 'DELETE', '/clock');
  if (exchange.status === 200) say('session', 'The clock is right.');
  else say('session', refusalOf(exchange), 'bad');
  await refreshAllTabs();
});
