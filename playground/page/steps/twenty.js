import { at, element, onAction, say } from '../dom.js';
import { refusalOf, send, showAll } from '../exchange.js';
import { onChange, refresh, refreshAllTabs, visitor } from '../visitor.js';

const VOLLEY = 20;

onChange(session => {
  for (const fruit of ['apples', 'pears']) {
    at(`${fruit}-count`).textContent = session?.data[fruit] ?? 0;
    at(`${fruit}-figure`).classList.toggle('none', !session);
  }
});

/** Sends twenty at once, and returns the answer that counted the most, or one that failed. */
async function volley(fruit) {
  const marks = Array.from({ length: VOLLEY }, () => element('li'));
  at(`${fruit}-volley`).replaceChildren(...marks);
  const exchanges = await Promise.all(
    marks.map(async mark => {
      const exchange = await send('POST', `/${fruit}`);
      mark.className = exchange.status === 200 ? 'good' : 'bad';
      return exchange;
    }),
  );
  const failed = exchanges.find(({ status }) => status !== 200);
  return {
    failed,
    exchange: failed ?? exchanges.reduce((a, b) => (a.body[fruit] > b.body[fruit] ? a : b)),
  };
}

const titleOf = ({ failed }, way) => `Twenty at once by ${way}. ${failed ? 'One that failed:' : 'The last one:'}`;

onAction(at('send-twenty'), async () => {
  await refresh();
  const { apples = 0, pears = 0 } = visitor.session?.data ?? {};
  const updated = await volley('apples');
  const assigned = await volley('pears');
  await showAll('apples', [
    { exchange: updated.exchange, title: titleOf(updated, 'update') },
    { exchange: assigned.exchange, title: titleOf(assigned, 'assignment') },
  ]);
  await refreshAllTabs();
  const failed = updated.failed ?? assigned.failed;
  if (failed) return say('apples', refusalOf(failed), 'bad');
  const kept = (visitor.session?.data.apples ?? 0) - apples;
  const keptByAssignment = (visitor.session?.data.pears ?? 0) - pears;
  say(
    'apples',
    `By update, ${kept} of ${VOLLEY} were kept. By assignment, ${keptByAssignment} of ${VOLLEY}.`,
    kept === VOLLEY ? 'good' : 'bad',
  );
});
