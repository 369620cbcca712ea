// The stream of the server's events, and the list of what the cookie services report.

import { at, clockTime, element } from './dom.js';
import { wordsOf } from './exchange.js';

const MOST_LINES = 40;

const listeners = new Map();
let stream;
/** The id of the session that the stream was opened with; empty without one. */
let openedFor;

/** Listens to an event of the stream, whichever session it is opened with. */
export function on(name, listener) {
  listeners.set(name, listener);
}

/** Opens the stream for a session, or for none, unless it is open already. */
export function listen(id = '') {
  if (stream && stream.readyState !== EventSource.CLOSED && openedFor === id) return;
  stream?.close();
  openedFor = id;
  stream = new EventSource('/events');
  stream.addEventListener('open', () => setLive(id ? 'on' : 'off', id ? 'live' : 'not live'));
  stream.addEventListener('error', () => setLive('off', 'connecting again …'));
  for (const [name, listener] of listeners) stream.addEventListener(name, ({ data }) => listener(JSON.parse(data)));
}

/** Whether the stream is open, so that what happens now is told. */
export const isLive = () => stream?.readyState === EventSource.OPEN;

function setLive(state, text) {
  at('live').dataset.state = state;
  at('live').lastElementChild.textContent = text;
}

on('report', report => {
  const log = at('event-log');
  log.querySelector('.empty')?.remove();
  const line = element('li', report.event === 'rejected' || report.event === 'conflict' ? 'warm' : '');
  line.append(element('time', '', clockTime(report.time)), element('b', '', wordsOf(report)));
  const whose = [report.principal, report.id?.slice(0, 8), report.cookie === 'admin' ? 'administrators' : undefined];
  line.append(element('span', 'note', whose.filter(Boolean).join(' · ')));
  log.prepend(line);
  while (log.children.length > MOST_LINES) log.lastElementChild.remove();
});
