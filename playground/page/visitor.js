// The session that this browser has, as the page knows it, and everything that is drawn by it alone.

import { at, duration, notify } from './dom.js';
import { listen, on } from './events.js';
import { send } from './exchange.js';

const otherTabs = new BroadcastChannel('session');

export const visitor = {
  /** The last answer of `GET /session`; `undefined` without a session. */
  session: undefined,
  /** The cookies that this browser sends, by name, without their secrets. */
  cookies: new Map(),
};

/** How far this browser's clock is behind the server's, in milliseconds. */
let skew = 0;

const drawings = [];
const tickings = [];

/** Calls `draw` whenever the session may be another one. */
export function onChange(draw) {
  drawings.push(draw);
}

/** Calls `tick` every second, and after each change, with the server's time. */
export function onTick(tick) {
  tickings.push(tick);
}

export const serverTime = () => Date.now() + skew;

/** Asks for the session as it is now, and draws the page by it. */
export async function refresh() {
  const { status, body, headers } = await send('GET', '/session');
  if (status === 200) {
    setTime(body.now);
    visitor.session = body;
  } else if (status === 403) visitor.session = undefined;
  if (status > 0) visitor.cookies = new Map((headers.Cookie ?? '').split('; ').map(pair => pair.split('=')));
  listen(visitor.session?.id);
  draw();
}

/** After what may have changed the session that this browser has. */
export async function refreshAllTabs() {
  await refresh();
  otherTabs.postMessage('changed');
}

otherTabs.addEventListener('message', () => void refresh());

/** Brings the page's clocks into line with the server's. */
export function setTime(now) {
  skew = new Date(now) - Date.now();
}

/** Draws what runs down, without asking the server. */
export function redraw() {
  draw();
}

function draw() {
  const { session } = visitor;
  const logOut = at('bar-log-out');
  const loses = !session && document.activeElement === logOut;
  at('bar').dataset.state = session ? 'on' : 'off';
  at('who').textContent = session ? session.data.username : 'No session';
  at('clocks').hidden = !session;
  logOut.hidden = !session;
  if (session) showEnded(undefined);
  for (const drawing of drawings) drawing(session);
  tick();
  // The button that had the focus is gone.
  if (loses) at('username').focus();
}

// ---- clocks -------------------------------------------------------------------------------------------------------

let asking = false;

/** Seconds until the session is over: by being idle, and whatever happens. */
export function remaining({ limits, lastSeenAt, createdAt }) {
  const since = instant => (serverTime() - new Date(instant)) / 1000;
  return {
    idle: limits.idleTimeout - since(lastSeenAt),
    absolute: limits.absoluteTimeout - since(createdAt),
  };
}

function tick() {
  const { session } = visitor;
  if (session) {
    const { idle, absolute } = remaining(session);
    at('idle-clock').textContent = duration(idle);
    at('absolute-clock').textContent = duration(absolute);
    if (Math.min(idle, absolute) < 0 && !asking) void askWhetherOver();
  }
  for (const ticking of tickings) ticking(session);
}

/** Runs a step that itself asks whether the session is over. The page does not ask meanwhile. */
export async function undisturbed(work) {
  asking = true;
  try {
    return await work();
  } finally {
    asking = false;
  }
}

async function askWhetherOver() {
  await undisturbed(refresh);
  if (!visitor.session) notify('Your session expired.');
}

// ---- events -------------------------------------------------------------------------------------------------------

const OVER = {
  logout: 'You logged out.',
  revoked: 'This session was ended from another device.',
  replaced: 'Another log-in in this browser took this session’s place.',
  evicted: 'This session was ended, as there were too many.',
  elsewhere: 'This session was ended by another process, or expired.',
  idle: 'Your session expired: it was idle for too long.',
  absolute: 'Your session expired: it had its time.',
};

/** @param after the milliseconds, if the server that this page has its stream from ended the session */
function showEnded(after) {
  at('ended').hidden = after === undefined;
  if (after === undefined) return;
  at('ended').textContent =
    `Session ended ${after.toFixed(1)} ms after the request: from its arrival at the server to the abort of session.signal ` +
    'there, by the server’s clock. Then the server closed the stream; the way to this page is not counted.';
}

/** This page's session is over. Another one may have taken its place, whose cookie is still on its way to the browser. */
on('over', async ({ reason, after }) => {
  showEnded(after);
  const before = visitor.session?.id;
  if (reason === 'replaced') await new Promise(resolve => setTimeout(resolve, 500));
  await refresh();
  if (!visitor.session && before) notify(OVER[reason] ?? 'Your session is over.');
});

export function startTicking() {
  setInterval(tick, 1000);
}
