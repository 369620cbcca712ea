import { at, element, fact, onAction, say } from '../dom.js';
import { act, refusalOf } from '../exchange.js';
import { onChange, refreshAllTabs, visitor } from '../visitor.js';

onChange(() => {
  const facts = element('dl', 'facts');
  facts.append(
    fact(
      'User',
      visitor.session ? `${visitor.session.data.username}’s session` : 'no session',
      'Lax, eight hours, idle 15 minutes',
    ),
    fact(
      'Administrator',
      hasAdminCookie() ? 'a session of its own' : 'no session',
      'Strict, idle 5 minutes, gone when the browser closes',
    ),
  );
  at('kinds-panel').replaceChildren(facts);
});

const hasAdminCookie = () => [...visitor.cookies.keys()].some(name => name.endsWith('admin'));

function onAdmin(id, method, path) {
  onAction(at(id), async () => {
    const exchange = await act('admin', method, path);
    if (exchange.status === 200) say('admin', `${exchange.body.message}.`, 'good');
    else say('admin', refusalOf(exchange), 'bad');
    await refreshAllTabs();
  });
}

onAdmin('admin-log-in', 'POST', '/admin/log_in');
onAdmin('ask-admin', 'GET', '/admin');
onAdmin('admin-log-out', 'POST', '/admin/log_out');
