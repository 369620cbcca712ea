import { at, element, fact, onAction, say } from '../dom.js';
import { act, refusalOf, send } from '../exchange.js';
import { onChange, refresh, refreshAllTabs, visitor } from '../visitor.js';

/** 32 bytes in base64url. */
const HIDDEN = '•••••••• 43 characters';

/** What the store was last seen to hold, and the proof that it held before that. */
let record;
let proofBefore;

onChange(session => {
  if (record && record.id !== session?.id) record = proofBefore = undefined;
  drawCookie();
  drawRecord();
});

function drawCookie() {
  const { session } = visitor;
  if (!session) {
    at('cookie-panel').replaceChildren(element('p', 'empty', 'No session, so no cookie.'));
    return;
  }
  const [name] = [...visitor.cookies.keys()].filter(key => key.endsWith('session'));
  at('cookie-panel').replaceChildren(
    facts(
      fact('name', code(name ?? 'session')),
      fact('id', code(session.id, 'part-id'), 'Public. It names the record, and stays from log-in to log-out.'),
      fact('secret', code(HIDDEN, 'part-secret'), '32 random bytes. It opens the session; a rotation exchanges it.'),
      fact('mac', code(HIDDEN, 'part-mac'), 'Signs cookie name, id and secret. A forged one never reaches the store.'),
    ),
  );
}

function drawRecord() {
  if (!record) {
    at('record-panel').replaceChildren(element('p', 'empty', 'Not looked at yet.'));
    return;
  }
  const proof = element('span');
  if (proofBefore) proof.append(code(proofBefore, 'old'), element('br'));
  proof.append(code(record.proof, 'part-proof'));
  at('record-panel').replaceChildren(
    facts(
      fact('id', code(record.id, 'part-id')),
      fact('proof', proof, 'The SHA-256 of the secret. Nobody can log in with it.'),
      fact('data', code(record.data)),
      fact('version', code(String(record.version)), 'Counts the writes, so that none overwrites another.'),
    ),
  );
}

function facts(...rows) {
  const list = element('dl', 'facts');
  list.append(...rows);
  return list;
}

function code(text, className = '') {
  return element('code', `id ${className}`.trim(), text);
}

function keep(seen) {
  if (seen.id === record?.id && seen.proof !== record.proof) proofBefore = record.proof;
  record = seen;
}

onAction(at('look'), async () => {
  const exchange = await act('record', 'GET', '/store');
  if (exchange.status === 200) {
    keep(exchange.body.record);
    say('record', 'The id is in both. The secret is only in the cookie, its hash only in the store.', 'good');
  } else say('record', refusalOf(exchange), 'bad');
  await refresh();
});

onAction(at('rotate'), async () => {
  // What is there before, so that the panel can show both.
  const before = await send('GET', '/store');
  if (before.status === 200) keep(before.body.record);
  const exchange = await act('record', 'POST', '/session/rotate');
  if (exchange.status === 200) {
    const after = await send('GET', '/store');
    if (after.status === 200) keep(after.body.record);
    say('record', 'New secret, new cookie. The id stays, and the old cookie is dead.', 'good');
  } else say('record', refusalOf(exchange), 'bad');
  await refreshAllTabs();
});
