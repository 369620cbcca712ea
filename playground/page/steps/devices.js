import { at, clockTime, duration, element, onAction, say } from '../dom.js';
import { on } from '../events.js';
import { act, refusalOf, send } from '../exchange.js';
import { onChange, onTick, refresh, refreshAllTabs, serverTime } from '../visitor.js';

/** Seconds: the default of `SessionsController`. */
const MAX_AUTH_AGE = 300;

/** The list's items by the id of their session. They are kept, so that the focus stays where it is. */
const items = new Map();

/** The answer of `GET /devices/current`, which is no activity; `undefined` without a session. */
let current;

/** Counts what was asked for, so that an older answer never takes the place of a newer one. */
let asked = 0;

// The event says that the list changed. What is in it comes from the routes that any application has.
on('sessions', () => void load());
onChange(session => {
  if (session) return;
  asked++;
  current = undefined;
  draw([]);
});

async function load() {
  const own = ++asked;
  const [list, self] = await Promise.all([send('GET', '/devices'), send('GET', '/devices/current')]);
  if (own !== asked || list.status !== 200 || self.status !== 200) return;
  current = self.body;
  draw(list.body);
}

function draw(sessions) {
  const list = at('device-list');
  const focused = [...list.children].findIndex(item => item.contains(document.activeElement));
  for (const id of items.keys()) if (!sessions.some(session => session.id === id)) items.delete(id);
  const wanted = sessions.map(itemOf);
  if (wanted.length === 0) wanted.push(element('li', 'empty', 'No session, so no devices.'));
  for (const item of [...list.children]) if (!wanted.includes(item)) item.remove();
  wanted.forEach((item, n) => {
    if (list.children[n] !== item) list.insertBefore(item, list.children[n] ?? null);
  });
  drawSeen();
  drawMayEnd();
  if (focused !== -1 && !list.contains(document.activeElement)) refocus(list, focused);
}

/** Moves the focus to the button that took the place of one that is gone. */
function refocus(list, position) {
  const buttons = [...list.querySelectorAll('button')];
  (buttons[Math.min(position, buttons.length - 1)] ?? at('devices-title')).focus();
}

function itemOf(session) {
  let item = items.get(session.id);
  if (!item) items.set(session.id, (item = makeItem(session)));
  item.querySelector('time').dateTime = session.lastSeenAt;
  // A log-in of this browser is listed before its page has its cookie.
  item.querySelector('.badge').hidden = !session.current;
  item.querySelector('button').setAttribute('aria-label', labelOf(session));
  return item;
}

const labelOf = ({ id, current, userAgent }) =>
  `End the session of ${nameOf(userAgent)}${current ? ', this browser' : ''}, ${id.slice(0, 8)}`;

function makeItem({ id, userAgent, ip, createdAt }) {
  const item = element('li');
  const words = element('div', 'device');
  const name = element('p', 'device-name', nameOf(userAgent));
  name.append(' ', element('span', 'badge', 'this browser'));
  const details = element('p', 'device-details');
  details.append(
    'seen ',
    element('time'),
    ` · logged in ${clockTime(createdAt)} · ${ip ?? 'address not kept'} · `,
    element('code', '', id.slice(0, 8)),
  );
  words.append(name, details);
  const end = element('button', 'quiet', 'End');
  end.type = 'button';
  onAction(end, () => endDevice(id));
  item.append(words, end);
  return item;
}

onTick(drawSeen);
onTick(drawMayEnd);

function drawMayEnd() {
  const left = current && MAX_AUTH_AGE - (serverTime() - new Date(current.authenticatedAt)) / 1000;
  const isOld = left < 0;
  at('may-end').textContent = !current ? 'no session' : isOld ? 'yours is older' : `yours is, for ${duration(left)}`;
  at('again').hidden = !isOld;
}

function drawSeen() {
  for (const time of at('device-list').querySelectorAll('time')) time.textContent = ago(time.dateTime);
}

function ago(instant) {
  const seconds = Math.max(0, Math.round((serverTime() - new Date(instant)) / 1000));
  if (seconds < 5) return 'just now';
  return seconds < 60 ? `${seconds} s ago` : `${duration(seconds)} ago`;
}

const BROWSERS = [
  [/Edg\//, 'Edge'],
  [/OPR\//, 'Opera'],
  [/Firefox\//, 'Firefox'],
  [/Chrom(e|ium)\//, 'Chrome'],
  [/Safari\//, 'Safari'],
  [/curl\//, 'curl'],
];
const SYSTEMS = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/Linux|X11/, 'Linux'],
];

function nameOf(userAgent = '') {
  const known = pairs => pairs.find(([pattern]) => pattern.test(userAgent))?.[1];
  const [browser = 'A client', system] = [known(BROWSERS), known(SYSTEMS)];
  return system ? `${browser} on ${system}` : browser;
}

async function endDevice(id) {
  const exchange = await act('devices', 'DELETE', `/devices/${id}`);
  if (exchange.status === 204) say('devices', 'That session is over; its next request will be refused.', 'good');
  else sayRefused(exchange);
  await refreshAllTabs();
}

onAction(at('end-others'), async () => {
  const exchange = await act('devices', 'DELETE', '/devices');
  if (exchange.status !== 200) sayRefused(exchange);
  else if (exchange.body.ended === 0) say('devices', 'There was no other one.');
  else say('devices', `${exchange.body.ended} ended. Only this browser is left.`, 'good');
  await refresh();
});

/** A refusal that a new log-in helps against has a code of its own. */
function sayRefused(exchange) {
  const isOld = exchange.body?.code === 'ERR_SESSION_NOT_FRESH';
  say('devices', isOld ? 'You logged in too long ago. Log in again, then end it.' : refusalOf(exchange), 'bad');
}
