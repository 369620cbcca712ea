// Sends requests, and shows them: what went out, what came back, and the code that answered.

const sources = fetch('/sources.json').then(response => response.json());

/** Sends a request. Never throws: without an answer, `status` is 0. */
export async function send(method, path) {
  const started = performance.now();
  try {
    const response = await fetch(path, { method });
    const text = await response.text();
    const { cookie, setCookie } = JSON.parse(response.headers.get('Playground-Exchange') ?? '{}');
    return {
      method,
      path,
      headers: { Cookie: cookie },
      status: response.status,
      reason: response.statusText,
      milliseconds: Math.round(performance.now() - started),
      setCookie: setCookie ?? [],
      retryAfter: response.headers.get('Retry-After'),
      body: parse(text),
    };
  } catch {
    return { method, path, headers: {}, status: 0, setCookie: [], body: undefined };
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Shows an exchange in a wire, with the code of its route below. `title` stands above it where there were several. */
export async function show(wire, exchange, title) {
  const parts = [];
  if (title) parts.push(element('p', 'wire-title', title));
  parts.push(requestOf(exchange), answerOf(exchange));
  const live = element('div', 'exchange');
  live.append(...parts);
  wire.replaceChildren(live, await sourceOf(exchange.method, exchange.path));
}

/** What a wire has before anything was sent: the code that is going to answer. */
export async function showSource(wire) {
  const [method, path] = wire.dataset.source.split(' ');
  const empty = element('p', 'wire-empty', 'Nothing sent yet. This will answer:');
  wire.replaceChildren(empty, await sourceOf(method, path));
}

function requestOf({ method, path, headers }) {
  const block = element('div', 'request');
  const line = element('p', 'line');
  line.append(element('b', 'verb', method), ' ', path);
  block.append(element('h3', '', 'Request'), line);
  for (const [name, value] of Object.entries(headers)) block.append(headerLine(name, value));
  return block;
}

function answerOf({ status, reason, milliseconds, setCookie, retryAfter, body }) {
  const block = element('div', 'answer');
  block.append(element('h3', '', 'Response'));
  if (status === 0) {
    block.append(element('p', 'line bad', 'No answer. Is the server still running?'));
    return block;
  }
  const line = element('p', 'line');
  const pill = element('b', `status ${status < 400 ? 'good' : 'bad'}`, String(status));
  line.append(pill, ` ${reason || ''}`);
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
  return block;
}

function headerLine(name, value) {
  const line = element('p', 'header');
  line.append(element('span', 'header-name', `${name}: `), value ?? element('i', '', 'none'));
  return line;
}

function setCookieLine(cookie) {
  const [pair, ...attributes] = cookie.split('; ');
  const line = element('p', 'header set-cookie');
  line.append(element('span', 'header-name', 'Set-Cookie: '), pair);
  for (const attribute of attributes) line.append('; ', element('span', 'attribute', attribute));
  return line;
}

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
  return parts.length === given.length && parts.every((part, at) => part.startsWith(':') || part === given[at]);
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

export function element(tag, className = '', text = undefined) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
