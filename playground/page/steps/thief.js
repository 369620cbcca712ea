import { at, onAction, say } from '../dom.js';
import { act, refusalOf, send, show, Trail } from '../exchange.js';
import { refresh, refreshAllTabs, visitor } from '../visitor.js';

onAction(at('steal'), async () => {
  const trail = new Trail('thief-trail');
  const stolen = await act('thief', 'POST', '/thief/copies');
  if (stolen.status !== 200) {
    trail.add(stolen, 'There is nothing to steal.');
    say('thief', refusalOf(stolen), 'bad');
    return;
  }
  const cookie = `copy ${stolen.body.copy}`;
  trail.add(stolen, 'The thief has a copy of your cookie.');
  trail.add(await send('GET', '/secure', cookie), 'With the copy: while it is the latest, it opens the session.');
  const rotated = await send('POST', '/session/rotate');
  trail.add(rotated, 'You rotate. Your browser gets the new secret.');
  const replayed = await send('GET', '/secure', cookie);
  trail.add(replayed, 'With the copy: signed by this server, and superseded.');
  const own = await send('GET', '/secure');
  trail.add(own, 'With your own cookie.');
  await show('thief', replayed);
  const holds = replayed.status === 403 && own.status === 200;
  say(
    'thief',
    holds ? 'The copy is worth nothing any more, and you are still in.' : 'That should not be.',
    holds ? 'good' : 'bad',
  );
  await refreshAllTabs();
});

const FORGED = [
  ['GET', '/secure', 'guess', 'A token made up at random, of the right form.'],
  ['GET', '/secure', 'alter', 'Your own token, with another session’s id put in.'],
  ['GET', '/admin', 'rename', 'Your own token, sent as the administrators’ cookie.'],
];

onAction(at('forge'), async () => {
  if (!visitor.session) {
    say('thief', 'Log in first: two of the three are made of your own cookie.', 'bad');
    return;
  }
  const trail = new Trail('thief-trail');
  let last;
  let refused = 0;
  for (const [method, path, trick, words] of FORGED) {
    last = await send(method, path, trick);
    if (last.status === 403) refused++;
    trail.add(last, words);
  }
  await show('thief', last);
  if (refused === FORGED.length) say('thief', 'All refused by their MAC, without a question to the store.', 'good');
  else say('thief', refusalOf(last), 'bad');
  await refresh();
});
