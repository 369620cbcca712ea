// Starts the built playground on a free port, sends the requests of the README's example with curl, and stops the playground.
// Needs `npm run build:playground` first.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { findProgram, startPostgres, startRedis } from './test-support.mjs';

const server = path.resolve(import.meta.dirname, '..', 'build', 'playground', 'server.js');
const READY_WITHIN = 30_000;
const work = mkdtempSync(path.join(tmpdir(), 'rcs-smoke-'));
const jar = path.join(work, 'cookies');
const folder = path.join(work, 'data');
const say = line => console.log(`smoke-playground: ${line}`);

/** Starts the playground. `ready` resolves with its URL once it prints one, or with its output when it ends before. */
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
  return { child, exited, ready, output: () => output };
}

function hasCurl() {
  try {
    execFileSync('curl', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Sends a request with curl and a cookie jar. */
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

/** Checks that a session outlives a restart of the playground. */
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
  say(`SESSION_BACKEND=${backend}: a restart logs nobody out`);
}

/** Starts an engine for a check. Without the engine the check is skipped, which is printed; with CI=true that is a failure. */
async function withEngine(name, program, startEngine, check) {
  if (findProgram(program) === undefined) {
    assert.notEqual(process.env.CI, 'true', `${name} is not installed`);
    say(`SKIPPED: ${name} is not installed`);
    return;
  }
  const engine = await startEngine();
  try {
    await check(engine);
  } finally {
    await engine.stop();
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

  // A page that listens for events keeps its connection open until the server ends it.
  const login = await fetch(`${url}/get_session?username=ada`, { method: 'POST' });
  const cookie = login.headers.getSetCookie()[0].split(';')[0];
  const events = await fetch(`${url}/events`, { headers: { cookie } });
  assert.equal(events.status, 200);
  playground.child.kill('SIGTERM');
  assert.equal(await playground.exited, 0);
  // A stream that is cut off after the grace period would reject here.
  assert.match(await events.text(), /^event: sessions/m);
  assert.match(
    playground.output(),
    /SESSION_BACKEND=sqlite, in \S*data\S*\. Other backends: memory, lmdb, redis, postgres, mysql/,
  );
  say(`SIGTERM ends it, with a page listening, and the exit code is 0`);

  const again = start({ PORT: '0', SESSION_FOLDER: folder });
  running.push(again.child);
  const restarted = await again.ready;
  assert.ok(restarted.url, `the server did not start again: ${restarted.output}`);
  assert.equal((await fetch(`${restarted.url}/secure`, { headers: { cookie } })).status, 200);
  say('a restart logs nobody out');
  again.child.kill('SIGTERM');
  assert.equal(await again.exited, 0);

  await withEngine('Redis', 'redis-server', startRedis, ({ port }) =>
    survivesRestart('redis', { REDIS_URL: `redis://127.0.0.1:${port}` }),
  );
  await withEngine('PostgreSQL', 'postgres', startPostgres, ({ port }) =>
    survivesRestart('postgres', { POSTGRES_URL: `postgres://postgres@127.0.0.1:${port}/postgres` }),
  );
} finally {
  for (const child of running) child.kill('SIGKILL');
  rmSync(work, { recursive: true, force: true });
}
