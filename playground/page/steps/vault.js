import { at, duration, onAction, say } from '../dom.js';
import { act, refusalOf } from '../exchange.js';
import { onTick, refresh, refreshAllTabs, serverTime } from '../visitor.js';

onTick(session => {
  const [fresh, bar, text] = [at('fresh'), at('fresh-meter'), at('fresh-text')];
  if (!session) {
    fresh.dataset.state = 'none';
    bar.value = 0;
    text.textContent = 'No session';
    return;
  }
  const { maxAuthAge } = session.limits;
  const age = (serverTime() - new Date(session.authenticatedAt)) / 1000;
  const left = maxAuthAge - age;
  at('max-auth-age').textContent = maxAuthAge;
  bar.max = maxAuthAge;
  bar.value = Math.max(0, left);
  fresh.dataset.state = left > 0 ? 'fresh' : 'stale';
  text.textContent = left > 0 ? `fresh for ${Math.ceil(left)} s` : `logged in ${duration(age)} ago: too long`;
});

onAction(at('open-vault'), async () => {
  const exchange = await act('vault', 'GET', '/vault');
  if (exchange.status === 200) say('vault', `${exchange.body.message}.`, 'good');
  else if (exchange.body?.code === 'ERR_SESSION_NOT_FRESH')
    say('vault', 'You have a session, but you logged in too long ago. Confirm that it is you, then try again.', 'bad');
  else say('vault', refusalOf(exchange), 'bad');
  await refresh();
});

onAction(at('confirm'), async () => {
  const exchange = await act('vault', 'POST', '/vault/confirm');
  if (exchange.status === 200) say('vault', 'It is you. The vault is yours for a while.', 'good');
  else say('vault', refusalOf(exchange), 'bad');
  await refreshAllTabs();
});
