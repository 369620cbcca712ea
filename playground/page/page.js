import { element, send, show, showSource } from './exchange.js';

const VOLLEY = 20;

const at = id => document.getElementById(id);
const wires = Object.fromEntries([...document.querySelectorAll('[data-wire]')].map(wire => [wire.dataset.wire, wire]));
const otherTabs = new BroadcastChannel('session');

/** What `GET /session` last said, with the time at which it said so; `undefined` without a session. */
let session;
let events;
/** How far this browser's clock is behind the server's, in milliseconds. */
let skew = 0;
/** Sessions that were just rotated away from, so that the panel can show both. */
let rotatedFrom;

// ---- sending ------------------------------------------------------------------------------------------------------

/** Sends for a step, shows what happened there, and then brings the page up to date. */
async function act(step, method, path) {
  const exchange = await send(method, path);
  await show(wires[step], exchange);
  return exchange;
}

/** A button, or a form, that is busy while its work runs. */
function onAction(target, event, work) {
  target.addEventListener(event, async occurrence => {
    occurrence.preventDefault();
    const button = target.matches('form') ? target.querySelector('button') : target;
    if (button.getAttribute('aria-busy') === 'true') return;
    button.setAttribute('aria-busy', 'true');
    try {
      await work();
    } finally {
      button.removeAttribute('aria-busy');
    }
  });
}

function say(id, text, kind = '') {
  const result = at(id);
  result.textContent = text;
  result.dataset.kind = kind;
}

/** What an answer means, in a sentence, where it means the same everywhere. */
function refusalOf({ status, body }) {
  if (status === 0) return 'No answer. Is the server still running?';
  if (status === 503) return 'The server cannot reach its sessions at the moment.';
  return typeof body === 'object' && body !== null && body.message
    ? `Refused: ${body.message}.`
    : `Refused: ${status}.`;
}

// ---- the session --------------------------------------------------------------------------------------------------

/** Asks for the session as it is now, and draws the page by it. */
async function refresh() {
  const { status, body } = await send('GET', '/session');
  if (status === 200) {
    skew = Math.max(skew, new Date(body.lastSeenAt) - Date.now());
    session = body;
  } else if (status === 403) {
    session = undefined;
  }
  if (session) listen();
  else hangUp();
  draw();
}

/** After something that may have changed which session this browser has. */
async function refreshAllTabs() {
  await refresh();
  otherTabs.postMessage('changed');
}

otherTabs.addEventListener('message', () => void refresh());

function draw() {
  const bar = at('bar');
  bar.dataset.state = session ? 'on' : 'off';
  at('who').textContent = session ? session.data.username : 'No session';
  at('clocks').hidden = !session;
  at('bar-log-out').hidden = !session;
  at('apples-count').textContent = session?.data.apples ?? 0;
  at('apples-figure').classList.toggle('none', !session);
  drawSession();
  if (!session) drawDevices([]);
  tick();
}

function drawSession() {
  const panel = at('session-panel');
  if (!session) {
    panel.replaceChildren(element('p', 'empty', 'No session yet. Its id and its two clocks appear here.'));
    return;
  }
  const facts = element('dl', 'facts');
  facts.append(fact('Id', idNode(session.id)));
  if (rotatedFrom) facts.append(fact('Before', idNode(rotatedFrom, 'old')));
  facts.append(
    fact('Principal', session.data.username),
    fact('Logged in', clockTime(session.authenticatedAt)),
    fact('Idle expiry', gauge('idle-gauge')),
    fact('Absolute expiry', gauge('absolute-gauge')),
  );
  panel.replaceChildren(facts);
}

function fact(name, value) {
  const row = element('div');
  const description = element('dd');
  description.append(value);
  row.append(element('dt', '', name), description);
  return row;
}

function idNode(id, className = '') {
  return element('code', `id ${className}`.trim(), id);
}

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

const clockTime = date =>
  new Date(date).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

// ---- clocks -------------------------------------------------------------------------------------------------------

let askingWhetherOver = false;

/** Redraws everything that runs down. */
function tick() {
  if (!session) {
    at('fresh').dataset.state = 'none';
    at('fresh-meter').value = 0;
    at('fresh-text').textContent = 'No session';
    return;
  }
  const now = Date.now() + skew;
  const { limits, lastSeenAt, createdAt, authenticatedAt } = session;
  const idle = limits.idleTimeout - (now - new Date(lastSeenAt)) / 1000;
  const absolute = limits.absoluteTimeout - (now - new Date(createdAt)) / 1000;
  at('idle-clock').textContent = duration(idle);
  at('absolute-clock').textContent = duration(absolute);
  drawGauge('idle-gauge', idle, limits.idleTimeout);
  drawGauge('absolute-gauge', absolute, limits.absoluteTimeout);

  const fresh = limits.maxAuthAge - (now - new Date(authenticatedAt)) / 1000;
  at('max-auth-age').textContent = limits.maxAuthAge;
  at('fresh-meter').max = limits.maxAuthAge;
  at('fresh-meter').value = Math.max(0, fresh);
  at('fresh').dataset.state = fresh > 0 ? 'fresh' : 'stale';
  at('fresh-text').textContent =
    fresh > 0 ? `fresh for ${Math.ceil(fresh)} s` : `logged in ${duration(-fresh + limits.maxAuthAge)} ago: too long`;

  if (Math.min(idle, absolute) < 0 && !askingWhetherOver) {
    askingWhetherOver = true;
    void refresh().then(() => {
      askingWhetherOver = false;
      if (!session) notify('Your session expired.');
    });
  }
  for (const time of document.querySelectorAll('time[data-seen]')) time.textContent = ago(time.dateTime, now);
}

function drawGauge(id, left, whole) {
  const bar = at(id);
  if (!bar) return;
  bar.max = whole;
  bar.value = Math.max(0, left);
  at(`${id}-text`).textContent = `in ${duration(left)}`;
}

function duration(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const pad = number => String(number).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

function ago(date, now) {
  const seconds = Math.max(0, Math.round((now - new Date(date)) / 1000));
  if (seconds < 5) return 'just now';
  return seconds < 60 ? `${seconds} s ago` : `${duration(seconds)} ago`;
}

// ---- live ---------------------------------------------------------------------------------------------------------

const OVER = {
  logout: 'You logged out.',
  revoked: 'This session was ended from another device.',
  replaced: 'Another log-in in this browser took this session’s place.',
  evicted: 'This session was ended, as there were too many.',
  idle: 'Your session expired: it was idle for too long.',
  absolute: 'Your session expired: it had its time.',
};

function listen() {
  if (events && events.readyState !== EventSource.CLOSED) return;
  events = new EventSource('/devices/events');
  events.addEventListener('open', () => setLive('on', 'live'));
  events.addEventListener('error', () => setLive('off', 'connecting again …'));
  events.addEventListener('sessions', ({ data }) => drawDevices(JSON.parse(data)));
  events.addEventListener('refused', ({ data }) => void showRefusal(JSON.parse(data)));
  events.addEventListener('over', ({ data }) => void whenOver(JSON.parse(data).reason));
}

function hangUp() {
  events?.close();
  events = undefined;
  setLive('off', 'not live');
}

function setLive(state, text) {
  at('live').dataset.state = state;
  at('live').lastElementChild.textContent = text;
}

/** This page's session is over; another one may have taken its place, whose cookie is still on its way to the browser. */
async function whenOver(reason) {
  const before = session?.id;
  hangUp();
  if (reason === 'replaced') await new Promise(resolve => setTimeout(resolve, 500));
  await refresh();
  if (!session && before) notify(OVER[reason] ?? 'Your session is over.');
}

function notify(text) {
  const notice = at('notice');
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => (notice.hidden = true), 8000);
}

function drawDevices(list) {
  const devices = at('device-list');
  if (list.length === 0) {
    devices.replaceChildren(element('li', 'empty', 'No session, so no devices.'));
    return;
  }
  devices.replaceChildren(...list.map(deviceNode));
  at('end-others').disabled = false;
}

function deviceNode({ id, current, userAgent, ip, createdAt, lastSeenAt }) {
  const item = element('li');
  const words = element('div', 'device');
  const name = element('p', 'device-name', nameOf(userAgent));
  if (current) name.append(' ', element('span', 'badge', 'this browser'));
  const seen = element('time');
  seen.dateTime = lastSeenAt;
  seen.dataset.seen = '';
  const details = element('p', 'device-details');
  details.append(
    'seen ',
    seen,
    ` · logged in ${clockTime(createdAt)} · ${ip ?? 'address not kept'} · `,
    element('code', '', id.slice(0, 8)),
  );
  words.append(name, details);
  const end = element('button', 'quiet', 'End');
  end.type = 'button';
  end.setAttribute(
    'aria-label',
    `End the session of ${nameOf(userAgent)}${current ? ', this browser' : ''}, ${id.slice(0, 8)}`,
  );
  onAction(end, 'click', () => endDevice(id));
  item.append(words, end);
  return item;
}

function nameOf(userAgent = '') {
  const known = (pairs, fallback) => pairs.find(([pattern]) => pattern.test(userAgent))?.[1] ?? fallback;
  const browser = known(
    [
      [/Edg\//, 'Edge'],
      [/OPR\//, 'Opera'],
      [/Firefox\//, 'Firefox'],
      [/Chrom(e|ium)\//, 'Chrome'],
      [/Safari\//, 'Safari'],
      [/curl\//, 'curl'],
    ],
    'A client',
  );
  const system = known(
    [
      [/Android/, 'Android'],
      [/iPhone|iPad/, 'iOS'],
      [/Windows/, 'Windows'],
      [/Mac OS X/, 'macOS'],
      [/Linux|X11/, 'Linux'],
    ],
    '',
  );
  return system ? `${browser} on ${system}` : browser;
}

async function showRefusal(exchange) {
  await show(wires.other, { ...exchange, reason: 'Forbidden' });
  say(
    'other-result',
    `Refused: the request came from ${exchange.headers.Origin}. The cookie was with it, and did not help.`,
    'good',
  );
}

// ---- the steps ----------------------------------------------------------------------------------------------------

onAction(at('log-in-form'), 'submit', async () => {
  rotatedFrom = undefined;
  const name = at('username').value;
  const exchange = await act('log-in', 'POST', `/get_session?username=${encodeURIComponent(name)}`);
  if (exchange.status === 200) say('log-in-result', `You now have a session, ${exchange.body.user.username}.`, 'good');
  else say('log-in-result', refusalOf(exchange), 'bad');
  await refreshAllTabs();
});

onAction(at('ask-secure'), 'click', async () => {
  const exchange = await act('log-in', 'GET', '/secure');
  if (exchange.status === 200) say('log-in-result', `${exchange.body.message}.`, 'good');
  else say('log-in-result', refusalOf(exchange), 'bad');
  await refresh();
});

onAction(at('show-session'), 'click', async () => {
  const exchange = await act('session', 'GET', '/session');
  say(
    'session-result',
    exchange.status === 200 ? 'Reading it counts as being active: the idle clock starts anew.' : refusalOf(exchange),
    exchange.status === 200 ? '' : 'bad',
  );
  await refresh();
});

onAction(at('rotate'), 'click', async () => {
  const exchange = await act('session', 'POST', '/session/rotate');
  if (exchange.status === 200) {
    rotatedFrom = exchange.body.before;
    say('session-result', 'New id, new cookie, same session.', 'good');
  } else say('session-result', refusalOf(exchange), 'bad');
  await refreshAllTabs();
});

onAction(at('send-twenty'), 'click', async () => {
  await refresh();
  const before = session?.data.apples ?? 0;
  const marks = Array.from({ length: VOLLEY }, () => element('li'));
  at('volley').replaceChildren(...marks);
  const exchanges = await Promise.all(
    marks.map(async mark => {
      const exchange = await send('POST', '/apples');
      mark.className = exchange.status === 200 ? 'good' : 'bad';
      return exchange;
    }),
  );
  const failed = exchanges.find(({ status }) => status !== 200);
  const last = failed ?? exchanges.reduce((a, b) => (a.body.apples > b.body.apples ? a : b));
  const done = exchanges.filter(({ status }) => status === 200).length;
  await show(
    wires.apples,
    last,
    `${VOLLEY} requests at once: ${done} went through. ${failed ? 'One that did not:' : 'The last one:'}`,
  );
  await refresh();
  const kept = (session?.data.apples ?? 0) - before;
  if (failed) say('apples-result', refusalOf(failed), 'bad');
  else if (kept >= VOLLEY) say('apples-result', `${before} before, ${before + kept} after: none was lost.`, 'good');
  else say('apples-result', `${before} before, ${before + kept} after: ${VOLLEY - kept} were lost.`, 'bad');
  otherTabs.postMessage('changed');
});

async function endDevice(id) {
  const exchange = await act('devices', 'DELETE', `/devices/${id}`);
  if (exchange.status === 200) say('devices-result', 'That session is over; its next request will be refused.', 'good');
  else say('devices-result', refusalOf(exchange), 'bad');
  await refreshAllTabs();
}

onAction(at('end-others'), 'click', async () => {
  const exchange = await act('devices', 'DELETE', '/devices');
  if (exchange.status !== 200) say('devices-result', refusalOf(exchange), 'bad');
  else if (exchange.body.ended === 0) say('devices-result', 'There was no other one.');
  else say('devices-result', `${exchange.body.ended} ended. Only this browser is left.`, 'good');
  await refresh();
});

onAction(at('open-vault'), 'click', async () => {
  const exchange = await act('vault', 'GET', '/vault');
  if (exchange.status === 200) say('vault-result', `${exchange.body.message}.`, 'good');
  else if (exchange.body?.code === 'ERR_SESSION_NOT_FRESH')
    say(
      'vault-result',
      'You have a session, but you logged in too long ago. Confirm that it is you, then try again.',
      'bad',
    );
  else say('vault-result', refusalOf(exchange), 'bad');
  await refresh();
});

onAction(at('confirm'), 'click', async () => {
  rotatedFrom = undefined;
  const exchange = await act('vault', 'POST', '/vault/confirm');
  if (exchange.status === 200) say('vault-result', 'It is you. The vault is yours for a while.', 'good');
  else say('vault-result', refusalOf(exchange), 'bad');
  await refreshAllTabs();
});

async function logOut() {
  rotatedFrom = undefined;
  const exchange = await act('log-out', 'POST', '/leave_session');
  if (exchange.status === 200) say('log-out-result', 'You no longer have a session.', 'good');
  else say('log-out-result', refusalOf(exchange), 'bad');
  await refreshAllTabs();
}

onAction(at('leave'), 'click', logOut);
onAction(at('bar-log-out'), 'click', async () => {
  await logOut();
  // The button that had the focus is gone.
  at('username').focus();
});

// ---- the other origin ---------------------------------------------------------------------------------------------

async function frameOtherOrigin() {
  const { otherPort } = await fetch('/settings.json').then(response => response.json());
  // It speaks plain HTTP, which a page that came over TLS cannot frame.
  if (!otherPort || location.protocol !== 'http:') return;
  const origin = `http://${location.hostname}:${otherPort}`;
  const caption = element('p', 'frame-address', origin);
  const frame = element('iframe');
  frame.title = 'A page of another origin';
  frame.src = `${origin}/`;
  at('frame').replaceChildren(caption, frame);
  addEventListener('message', ({ origin: from, data }) => {
    if (from === origin && data === 'sent' && !session)
      say('other-result', 'Sent, and refused. Log in, and the answer shows here.', '');
  });
}

// ---- start --------------------------------------------------------------------------------------------------------

for (const wire of Object.values(wires)) void showSource(wire);
void frameOtherOrigin();
void refresh();
setInterval(tick, 1000);
