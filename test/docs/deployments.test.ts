import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { forkModule } from '../support/child.js';
import { NEW } from './deployments/new-build.js';
import { OLD } from './deployments/old-build.js';
import type { BuildCall, BuildReply } from './deployments/serve-build.js';
import { readDocument, tableUnder } from './markdown.js';

const folder = mkdtempSync(path.join(tmpdir(), 'rcs-builds-'));
const started: ChildProcess[] = [];
afterAll(() => {
  for (const child of started) child.kill();
  rmSync(folder, { recursive: true });
});

/** A node that runs one of the builds in a process of its own. It answers one request after another. */
class Node {
  readonly #child: ChildProcess;

  constructor(build: 'old' | 'new') {
    this.#child = forkModule('../docs/deployments/serve-build', [build, folder]);
    started.push(this.#child);
  }

  ask(call: BuildCall): Promise<BuildReply> {
    return new Promise((resolve, reject) => {
      const ended = (code: unknown): void => reject(new Error(`the build ended: ${String(code)}`));
      this.#child.once('exit', ended);
      this.#child.once('message', reply => {
        this.#child.off('exit', ended);
        resolve(reply as BuildReply);
      });
      this.#child.send(call);
    });
  }

  stop(): Promise<unknown> {
    const stopped = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    return stopped;
  }
}

/** A client with its cookie. */
class Client {
  #token: string | undefined;

  constructor(private readonly row: string) {}

  async visit(node: Node, note?: string): Promise<BuildReply> {
    const token = this.#token === undefined ? {} : { token: this.#token };
    const reply = await node.ask({ row: this.row, ...token, ...(note === undefined ? {} : { note }) });
    if (reply.token !== '') this.#token = reply.token;
    return reply;
  }
}

const without = (data: unknown, name: string) =>
  Object.fromEntries(Object.entries(Object(data) as object).filter(([key]) => key !== name));

/** What happens, by the columns of the table. */
async function observe(row: string, old: Node, present: Node, again: () => Promise<Node>): Promise<string[]> {
  const [read, changed, made] = [new Client(row), new Client(row), new Client(row)];
  await read.visit(old);
  await changed.visit(old);
  await made.visit(present);

  const onNew = await read.visit(present);
  const afterRead = await read.visit(old);
  await changed.visit(present, 'new');
  const [ofChanged, ofMade] = [await changed.visit(old), await made.visit(old)];

  const before = await changed.visit(present);
  const write = await changed.visit(old, 'old');
  const after = await changed.visit(present);
  const isKept = JSON.stringify(after.data) === JSON.stringify({ ...without(before.data, ''), note: 'old' });
  const isUntouched = JSON.stringify(after.data) === JSON.stringify(before.data);
  const refused = write.outcome === '503' ? 'refused' : '';
  const written = write.outcome === 'opens' ? (isKept ? 'kept' : 'lost') : isUntouched ? refused : 'lost';
  const opensOnBoth = before.outcome === 'opens';

  const next = await again();
  const clients = [read, changed, made];
  const rolledBack = [];
  for (const client of clients) rolledBack.push((await client.visit(old)).outcome);
  const rolledOut = [];
  for (const client of clients) rolledOut.push((await client.visit(next)).outcome);
  const isWhole = JSON.stringify((await changed.visit(next)).data) === JSON.stringify(after.data);

  expect(rolledBack).toEqual([afterRead.outcome, ofChanged.outcome, ofMade.outcome]);
  expect(isWhole).toBe(true);
  const open = rolledOut.filter(outcome => outcome === 'opens').length;
  return [
    row,
    onNew.outcome,
    afterRead.outcome,
    ofChanged.outcome === ofMade.outcome ? ofMade.outcome : `${ofChanged.outcome}; made: ${ofMade.outcome}`,
    opensOnBoth ? written : '',
    open === clients.length ? 'nothing is lost' : `${open} of ${clients.length} open`,
  ];
}

describe('the table of changes in docs/deployments.md', () => {
  const documented = tableUnder(readDocument('docs/deployments.md'), 'What happens to sessions');

  test('has the changes that the two builds differ by', () => {
    expect(Object.keys(NEW)).toEqual(Object.keys(OLD));
    expect(documented.map(([change]) => change)).toEqual(Object.keys(OLD));
  });

  test('says what two builds in two processes do', async () => {
    const old = new Node('old');
    let present = new Node('new');
    const seen: string[][] = [];
    for (const row of Object.keys(OLD)) {
      const again = async () => {
        await present.stop();
        return (present = new Node('new'));
      };
      seen.push(await observe(row, old, present, again));
    }
    expect(seen).toEqual(documented);
  });
});
