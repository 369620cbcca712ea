// Starts the playground as built, on a port that is free, goes through the README's example with curl, and stops it again.
// Needs `npm run build:playground` first.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';

import pg from 'pg';

const server = path.resolve(import.meta.dirname, '..', 'build', 'playground', 'server.js');
const READY_WITHIN = 30_000;
/** Less than what requests under way would be given. */
const STOPS_WITHIN = 4000;
const work = mkdtempSync(path.join(tmpdir(), 'rcs-smoke-'));
const jar = path.join(work, 'cookies');
const folder = path.join(work, 'data');
const say = line => console.log(`smoke-playground: ${line}`);

/** Starts it, and resolves with its URL once it prints one, or with what it said when it ended before. */
function start(env) {
  const child = spawn(process.execPath, [server], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit').then(([code]) => code);
  let output = '';
  const ready = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no URL within ${READY_WITHIN} ms: ${output}`)), READY_WITHIN);
    const settle = url => {
      clearTimeout(late);
      resolve({ url, output });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => {
        output += text;
        const url = /^Playground: (http:\S+)/m.exec(output)?.[1];
        if (url) settle(url);
      });
    }
    child.once('close', () => settle(undefined));
  });
  return { child, exited, ready };
}

function hasCurl() {
  try {
    execFileSync('curl', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** As curl would be typed, with a cookie jar. */
function askWithCurl(method, url) {
  const options = ['--silent', '--show-error', '--max-time', '10', '--cookie', jar, '--cookie-jar', jar];
  const answer = execFileSync('curl', [...options, '--write-out', '\n%{http_code}', '--request', method, url], {
    encoding: 'utf8',
  });
  const at = answer.lastIndexOf('\n');
  return { status: Number(answer.slice(at + 1)), body: JSON.parse(answer.slice(0, at)) };
}

const cookies = new Map();
async function askWithFetch(method, url) {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const response = await fetch(url, { method, headers: cookie ? { cookie } : {} });
  for (const header of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(header);
    if (value === '') cookies.delete(name);
    else cookies.set(name, value);
  }
  return { status: response.status, body: await response.json() };
}

/** A session that was made before a restart is there after it. */
async function survivesRestart(backend, env) {
  const settings = { ...env, PORT: '0', SESSION_BACKEND: backend, SESSION_FOLDER: folder };
  const visit = async work => {
    const playground = start(settings);
    running.push(playground.child);
    const { url, output } = await playground.ready;
    assert.ok(url, `${backend}: the server ended: ${output}`);
    const answer = await work(url);
    playground.child.kill('SIGTERM');
    assert.equal(await playground.exited, 0, `${backend}: exit code`);
    return answer;
  };
  const login = await visit(url => fetch(`${url}/get_session?username=ada`, { method: 'POST' }));
  assert.equal(login.status, 200, backend);
  const headers = { cookie: login.headers.getSetCookie()[0].split(';')[0] };
  const [secure, logout] = await visit(async url => [
    await fetch(`${url}/secure`, { headers }),
    await fetch(`${url}/leave_session`, { method: 'POST', headers }),
  ]);
  assert.deepEqual([secure.status, logout.status], [200, 200], backend);
  say(`SESSION_BACKEND=${backend}: it knows who is logged in after a restart, too`);
}

/** Whether an engine listens. Where it does not, its part is left out, which is said; with CI=true that is a failure. */
async function isThere(name, url) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    assert.notEqual(process.env.CI, 'true', `${name} does not listen: ${error.message}`);
    say(`SKIPPED: ${name} does not listen on ${hostname}:${port}`);
    return false;
  } finally {
    socket.destroy();
  }
}

/** Works in a database of its own, which is gone afterwards. */
async function inNewDatabase(url, work) {
  const name = `smoke_${process.pid}`;
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  try {
    await admin.query(`CREATE DATABASE ${name}`);
    const own = new URL(url);
    own.pathname = `/${name}`;
    await work(own.href);
  } finally {
    await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await admin.end();
  }
}

const running = [];
try {
  const curl = hasCurl();
  const ask = curl ? askWithCurl : askWithFetch;
  const playground = start({ PORT: '0', SESSION_FOLDER: folder });
  running.push(playground.child);
  const { url, output } = await playground.ready;
  assert.ok(url, `the server ended: ${output}`);
  say(`${url}, asked with ${curl ? 'curl' : 'fetch'}`);

  const expectAnswer = async (method, route, status, body) => {
    const answer = await ask(method, url + route);
    assert.equal(answer.status, status, `${method} ${route}: ${JSON.stringify(answer.body)}`);
    for (const [key, value] of Object.entries(body)) assert.deepEqual(answer.body[key], value, `${method} ${route}`);
    say(`${method} ${route} ${status} ${answer.body.message ?? ''}`);
  };
  const refusal = { name: 'SessionRequiredError', message: 'Not authenticated', code: 'ERR_SESSION_REQUIRED' };
  const user = { username: 'ada' };
  await expectAnswer('GET', '/health', 200, { status: 'ok' });
  await expectAnswer('GET', '/openapi.json', 200, { openapi: '3.0.0' });
  await expectAnswer('GET', '/secure', 403, refusal);
  await expectAnswer('POST', '/get_session', 400, { name: 'ParamRequiredError' });
  await expectAnswer('POST', '/get_session?username=ada', 200, { message: 'You now have a session', user });
  await expectAnswer('GET', '/secure', 200, { message: 'You are secure', user });
  await expectAnswer('POST', '/leave_session', 200, { message: "You now don't have a session", user });
  await expectAnswer('GET', '/secure', 403, refusal);

  const second = start({ PORT: new URL(url).port, SESSION_BACKEND: 'memory' });
  running.push(second.child);
  const refused = await second.ready;
  assert.equal(await second.exited, 1);
  assert.match(refused.output, /^PORT: \d+ is taken on 127\.0\.0\.1; write another one/);
  say(`a second one on that port: ${refused.output.trim()}`);

  // A page that listens for events would keep its connection open for ever.
  const login = await fetch(`${url}/get_session?username=ada`, { method: 'POST' });
  const cookie = login.headers.getSetCookie()[0].split(';')[0];
  const events = await fetch(`${url}/events`, { headers: { cookie } });
  assert.equal(events.status, 200);
  const stopped = Date.now();
  playground.child.kill('SIGTERM');
  assert.equal(await playground.exited, 0);
  assert.match(await events.text(), /^event: sessions/m);
  const took = Date.now() - stopped;
  assert.ok(took < STOPS_WITHIN, `it took ${took} ms to stop`);
  say(`SIGTERM ends it, with a page listening, in ${took} ms with exit code 0`);

  const again = start({ PORT: '0', SESSION_FOLDER: folder });
  running.push(again.child);
  const restarted = await again.ready;
  assert.ok(restarted.url, `the server did not start again: ${restarted.output}`);
  assert.equal((await fetch(`${restarted.url}/secure`, { headers: { cookie } })).status, 200);
  say('started again, it still knows who is logged in');
  again.child.kill('SIGTERM');
  assert.equal(await again.exited, 0);

  const redis = process.env.REDIS_URL || 'redis://127.0.0.1:6379';
  if (await isThere('Redis', redis)) await survivesRestart('redis', { REDIS_URL: redis });
  const postgres = process.env.POSTGRES_URL || `postgres://${userInfo().username}@127.0.0.1:5432/postgres`;
  if (await isThere('PostgreSQL', postgres))
    await inNewDatabase(postgres, url => survivesRestart('postgres', { POSTGRES_URL: url }));
} finally {
  for (const child of running) child.kill('SIGKILL');
  rmSync(work, { recursive: true, force: true });
}
