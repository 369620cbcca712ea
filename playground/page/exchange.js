// Sends requests, and shows them: what went out, what came back, what was reported, and the code that answered.

import { at, element } from './dom.js';

const sources = fetch('/sources.json').then(response => response.json());

const wires = Object.fromEntries([...document.querySelectorAll('[data-wire]')].map(wire => [wire.dataset.wire, wire]));

/**
 * Sends a request. Never throws: without an answer, `status` is 0.
 *
 * @param cookie the trick of the playground's thief, which sends another cookie than this browser's
 */
export async function send(method, path, cookie = undefined) {
  const started = performance.now();
  try {
    const response = await fetch(path, { method, headers: cookie ? { 'Playground-Cookie': cookie } : {} });
    const text = await response.text();
    const exchange = JSON.parse(response.headers.get('Playground-Exchange') ?? '{}');
    return {
      method,
      path,
      headers: { Cookie: exchange.cookie },
      status: response.status,
      reason: response.statusText,
      milliseconds: Math.round(performance.now() - started),
      setCookie: exchange.setCookie ?? [],
      events: exchange.events ?? [],
      retryAfter: response.headers.get('Retry-After'),
      body: parse(text),
    };
  } catch {
    return { method, path, headers: {}, status: 0, setCookie: [], events: [], body: undefined };
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Sends a request for a step, and shows it there. */
export async function act(step, method, path) {
  const exchange = await send(method, path);
  await show(step, exchange);
  return exchange;
}

/** The meaning of a refusal in a sentence, where it means the same everywhere. */
export function refusalOf({ status, body }) {
  if (status === 0) return 'No answer. Is the server still running?';
  if (status === 503) return 'The server cannot reach its sessions at the moment.';
  return typeof body === 'object' && body !== null && body.message
    ? `Refused: ${body.message}.`
    : `Refused: ${status}.`;
}

/** Shows an exchange beside a step, with the code of its route below. */
export function show(step, exchange, title) {
  return showAll(step, [{ exchange, title }]);
}

/** Shows several exchanges beside a step. `title` stands above one of several requests of its kind. */
export async function showAll(step, entries) {
  const blocks = await Promise.all(entries.map(blocksOf));
  replace(wires[step], blocks.flat());
}

async function blocksOf({ exchange, title }) {
  const live = element('div', 'exchange');
  if (title) live.append(element('p', 'wire-title', title));
  live.append(requestOf(exchange), answerOf(exchange));
  return [live, await sourceOf(exchange.method, exchange.path)];
}

/** Shows beside every step the code that is going to answer. */
export async function showSources() {
  for (const wire of Object.values(wires)) {
    const routes = wire.dataset.source.split(', ').map(route => sourceOf(...route.split(' ')));
    replace(wire, [element('p', 'wire-empty', 'Nothing sent yet. This will answer:'), ...(await Promise.all(routes))]);
  }
}

/** Exchanges what a wire shows. Where the focus was inside, it stays inside. */
function replace(wire, children) {
  const focused = wire.contains(document.activeElement);
  wire.replaceChildren(...children);
  if (focused) wire.querySelector('[tabindex]')?.focus();
}

// ---- one exchange -------------------------------------------------------------------------------------------------

function requestOf({ method, path, headers }) {
  const block = element('div', 'request');
  const line = element('p', 'line');
  line.append(element('b', 'verb', method), ' ', path);
  block.append(element('h3', '', 'Request'), line);
  for (const [name, value] of Object.entries(headers)) block.append(headerLine(name, value));
  return block;
}

function answerOf({ status, reason, milliseconds, setCookie, events, retryAfter, body }) {
  const block = element('div', 'answer');
  block.append(element('h3', '', 'Response'));
  if (status === 0) {
    block.append(element('p', 'line bad', 'No answer. Is the server still running?'));
    return block;
  }
  const line = element('p', 'line');
  line.append(pill(status), ` ${reason || ''}`);
  if (milliseconds !== undefined) line.append(element('span', 'time', `${milliseconds} ms`));
  block.append(line);
  for (const cookie of setCookie ?? []) block.append(setCookieLine(cookie));
  if (retryAfter) block.append(headerLine('Retry-After', retryAfter));
  if (body !== undefined && body !== '') {
    const text = typeof body === 'string' ? body : JSON.stringify(body, null, 2);
    const pre = element('pre', 'body');
    pre.append(colored(text));
    pre.tabIndex = 0;
    block.append(pre);
  }
  for (const event of events ?? []) {
    const reported = element('p', 'reported');
    reported.append(element('span', 'header-name', 'Reported: '), wordsOf(event));
    block.append(reported);
  }
  return block;
}

export function pill(status) {
  return element('b', `status ${status > 0 && status < 400 ? 'good' : 'bad'}`, status > 0 ? String(status) : 'none');
}

/** An event in words: `ended: logout`. */
export function wordsOf({ event, reason, properties, operation }) {
  const detail = reason ?? properties?.join(', ') ?? operation;
  return detail ? `${event}: ${detail}` : event;
}

function headerLine(name, value) {
  const line = element('p', 'header');
  line.append(element('span', 'header-name', `${name}: `));
  if (value === undefined) line.append(element('i', '', 'none'));
  else if (name === 'Cookie') value.split('; ').forEach((pair, n) => line.append(n > 0 ? '; ' : '', cookieNode(pair)));
  else line.append(value);
  return line;
}

function setCookieLine(cookie) {
  const [pair, ...attributes] = cookie.split('; ');
  const line = element('p', 'header set-cookie');
  line.append(element('span', 'header-name', 'Set-Cookie: '), cookieNode(pair));
  for (const attribute of attributes) line.append('; ', element('span', 'attribute', attribute));
  return line;
}

/** `name=id.(secret).(mac)` with its parts apart. */
function cookieNode(pair) {
  const node = element('span', 'cookie');
  const [, before, id, secret, mac] = /^([^=]+=)([\w-]{22})\.(\(secret\))\.(\(mac\))$/.exec(pair) ?? [];
  if (id === undefined) node.append(pair);
  else
    node.append(
      before,
      element('span', 'part-id', id),
      '.',
      element('span', 'part-secret', secret),
      '.',
      element('span', 'part-mac', mac),
    );
  return node;
}

// ---- several requests of one story ---------------------------------------------------------------------------------

/** A list of what was sent one after the other, each with its answer and with what that means. */
export class Trail {
  #list;

  constructor(id) {
    this.#list = at(id);
    this.#list.replaceChildren();
    this.#list.hidden = false;
  }

  add({ method, path, status, events }, words) {
    const item = element('li');
    const line = element('p', 'trail-line');
    line.append(element('code', '', `${method} ${path}`), ' ', pill(status));
    for (const event of events) line.append(' ', element('span', 'tag', wordsOf(event)));
    item.append(line, element('p', 'trail-words', words));
    this.#list.append(item);
  }
}

// ---- code ---------------------------------------------------------------------------------------------------------

async function sourceOf(method, path) {
  const [pathname] = path.split('?');
  const routes = await sources;
  const route = routes.find(({ verb, path: pattern }) => verb === method && matches(pattern, pathname));
  const block = element('figure', 'source');
  if (!route) return block;
  const pre = element('pre');
  pre.tabIndex = 0;
  const code = element('code');
  for (const line of route.code.split('\n')) {
    const row = element('span', 'code-line');
    row.append(colored(line));
    code.append(row);
  }
  pre.append(code);
  block.append(element('figcaption', '', `${route.file}:${route.line}`), pre);
  return block;
}

function matches(pattern, pathname) {
  const parts = pattern.split('/');
  const given = pathname.split('/');
  return parts.length === given.length && parts.every((part, n) => part.startsWith(':') || part === given[n]);
}

const TOKENS =
  /(?<key>"[^"]*"(?=:))|(?<comment>\/\/.*)|(?<string>'[^']*'|"(?:[^"\\]|\\.)*"|`[^`]*`)|(?<decorator>@\w+)|(?<keyword>\b(?:async|await|const|if|new|return|throw|private|readonly|this|true|false|null|undefined)\b)|(?<number>\b\d+\b)/g;

/** Code, or JSON, as nodes that the style sheet colours. */
function colored(text) {
  const fragment = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [kind] = Object.entries(match.groups).find(([, value]) => value !== undefined);
    fragment.append(text.slice(done, match.index), element('span', `token-${kind}`, match[0]));
    done = match.index + match[0].length;
  }
  fragment.append(text.slice(done));
  return fragment;
}
