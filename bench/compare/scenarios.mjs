import { setImmediate as turn } from 'node:timers/promises';

import { ABSOLUTE_TIMEOUT, IDLE_TIMEOUT } from './settings.mjs';

const INCREMENTS = 200;
const FIELDS = 50;

/** A client without a cookie jar: it sends the given cookie, whatever the server has set since. */
export class Client {
  constructor(port) {
    this.base = `http://127.0.0.1:${port}`;
  }

  async send(method, path, cookie) {
    const response = await fetch(this.base + path, { method, headers: cookie ? { cookie } : {} });
    const setCookies = response.headers.getSetCookie();
    return { status: response.status, body: await response.text(), setCookies };
  }

  control(name, value = '') {
    return fetch(`${this.base}/_control/${name}?value=${value}`, { method: 'POST' }).then(response => response.text());
  }

  /** The data of a session. */
  async session(cookie) {
    return JSON.parse((await this.send('GET', '/me', cookie)).body);
  }

  /** @returns the Cookie header of a new session */
  async logIn(path = '/login') {
    return cookieOf(await this.send('POST', path));
  }
}

/** The scenarios, by the title of their row. Each has its own server and returns the text of a cell. */
export const scenarios = {
  [`${INCREMENTS} parallel increments of a counter: how many are kept`]: async client => {
    const cookie = await client.logIn();
    const answers = await Promise.all(times(INCREMENTS, () => client.send('POST', '/increment', cookie)));
    const { count } = await client.session(lastCookie(answers, cookie));
    return String(count);
  },

  [`${FIELDS} parallel requests assign one property each: how many are kept`]: async client => {
    const cookie = await client.logIn();
    const answers = await Promise.all(times(FIELDS, field => client.send('POST', `/set/field${field}`, cookie)));
    const session = await client.session(lastCookie(answers, cookie));
    return String(Object.keys(session).filter(key => key.startsWith('field')).length);
  },

  'a slow request that saves after the log-out brings the session back': async client => {
    const cookie = await client.logIn();
    const slow = client.send('POST', '/slow', cookie);
    while ((await client.control('entered')) !== 'true') await turn();
    await client.send('POST', '/logout', cookie);
    await client.control('release');
    const before = await isLoggedIn(client, cookie);
    return yesOrNo(before || (await isLoggedIn(client, lastCookie([await slow], cookie))));
  },

  'a copy of the cookie works after the log-out': async client => {
    const cookie = await client.logIn();
    await client.send('POST', '/logout', cookie);
    return yesOrNo(await isLoggedIn(client, cookie));
  },

  'log-out clears the cookie': async client => {
    const cookie = await client.logIn();
    const { setCookies } = await client.send('POST', '/logout', cookie);
    return yesOrNo(setCookies.some(header => header.startsWith('session=') && isClearing(header)));
  },

  'the store holds the id that is in the cookie': async (client, { stateless }) => {
    if (stateless) return 'no store';
    const cookie = decodeURIComponent(await client.logIn());
    const dump = await client.control('dump');
    const parts = cookie.slice(cookie.indexOf('=') + 1).split(/[^\w-]+/);
    return yesOrNo(parts.some(part => part.length >= 16 && dump.includes(part)));
  },

  'idle timeout holds when the store expires nothing': async (client, { stateless }) => {
    const cookie = await client.logIn();
    await client.control('advance', IDLE_TIMEOUT * 2);
    const holds = !(await isLoggedIn(client, cookie));
    return stateless ? `${yesOrNo(holds)} (no store)` : yesOrNo(holds);
  },

  'a session in steady use ends at an absolute timeout': async client => {
    let cookie = await client.logIn();
    for (let elapsed = 0; elapsed <= ABSOLUTE_TIMEOUT * 2; elapsed += IDLE_TIMEOUT / 2) {
      const answer = await client.send('GET', '/me', cookie);
      if (answer.status !== 200) return 'yes';
      cookie = lastCookie([answer], cookie);
      await client.control('advance', IDLE_TIMEOUT / 2);
    }
    return 'no';
  },

  'a cookie of another name, with the same secret, takes its token': async client => {
    const all = await client.logIn();
    const renamed = all.replaceAll(/(^|; )session/g, '$1admin');
    return yesOrNo((await client.send('GET', '/admin/me', renamed)).status === 200);
  },

  'log-in while the store cannot write': async (client, { stateless }) => {
    if (stateless) return 'no store';
    await client.control('failing', 'write');
    const { status, setCookies } = await client.send('POST', '/login');
    return `${status}, ${setCookies.some(header => !isClearing(header)) ? 'with' : 'no'} cookie`;
  },

  'request of a logged-in user while the store cannot be read': async (client, { stateless }) => {
    if (stateless) return 'no store';
    const cookie = await client.logIn();
    await client.control('failing', 'read');
    return String((await client.send('GET', '/me', cookie)).status);
  },

  'list a user’s sessions, and end all others': async client => {
    const [mine, other] = [await client.logIn(), await client.logIn()];
    const { status, body } = await client.send('GET', '/sessions', mine);
    const listed = status === 200 && body.startsWith('[') && JSON.parse(body).length === 2;
    if (!listed) return 'not offered';
    await client.send('POST', '/end-others', mine);
    return yesOrNo((await isLoggedIn(client, mine)) && !(await isLoggedIn(client, other)));
  },
};

async function isLoggedIn(client, cookie) {
  return (await client.send('GET', '/me', cookie)).status === 200;
}

function times(count, run) {
  return Array.from({ length: count }, (_, index) => run(index));
}

/** The cookie that a browser would have at the end: the last one that was set. */
function lastCookie(answers, before) {
  const last = answers.findLast(({ setCookies }) => setCookies.length > 0);
  return last ? cookieOf(last) : before;
}

function cookieOf({ setCookies }) {
  if (setCookies.length === 0) throw new Error('no Set-Cookie where one was expected');
  return setCookies.map(header => header.split(';')[0]).join('; ');
}

function isClearing(header) {
  const expires = /expires=([^;]+)/i.exec(header)?.[1];
  return /max-age=0(;|$)/i.test(header) || (expires !== undefined && Date.parse(expires) < Date.now());
}

function yesOrNo(answer) {
  return answer ? 'yes' : 'no';
}
