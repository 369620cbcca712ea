// Runs each scenario on each peer and prints a Markdown table of the results. With --write the table goes into README.md.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { Client, scenarios } from './scenarios.mjs';

const OURS = 'routing-controllers-sessions';
const files = readdirSync(path.join(import.meta.dirname, 'peers')).map(file => file.replace('.mjs', ''));
const peers = [OURS, ...files.filter(file => file !== OURS).sort()];

const columns = [];
for (const peer of peers) {
  const cells = [];
  for (const [title, run] of Object.entries(scenarios)) {
    const child = fork(path.join(import.meta.dirname, 'serve.mjs'), [peer], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    try {
      const [about] = await once(child, 'message');
      cells.push(await run(new Client(about.port), about));
      columns[peers.indexOf(peer)] = { ...about, cells };
    } catch (error) {
      throw new Error(`${peer}: ${title}`, { cause: error });
    } finally {
      child.kill();
    }
  }
}

const row = cells => `| ${cells.join(' | ')} |`;
const lines = [
  `Measured on ${new Date().toISOString().slice(0, 10)} with Node ${process.versions.node}:`,
  '',
  row(['', ...columns.map(({ name, version }) => (name === OURS ? 'this library' : `${name} ${version}`))]),
  row(['---', ...columns.map(() => '---')]),
  ...Object.keys(scenarios).map((title, index) => row([title, ...columns.map(({ cells }) => cells[index])])),
];
console.log(lines.join('\n'));

if (process.argv.includes('--write')) {
  const readme = path.resolve(import.meta.dirname, '../../README.md');
  const [before, after] = readFileSync(readme, 'utf8').split(
    /(?<=<!-- comparison -->\n)[^]*(?=<!-- end of comparison -->)/,
  );
  writeFileSync(readme, `${before}\n${lines.join('\n')}\n\n${after}`);
}
