/*
 * Runs the tests.
 *
 *     npm test                     what takes seconds, on the engines that are installed
 *     npm run test:all             everything
 *     npm run test:rest            everything that `npm test` leaves out
 *     npm test -- test/koa         some files, with any options of Jest
 *
 * The last lines say what was left out.
 */
import { availableParallelism } from 'node:os';

import { missingEngines } from './engines.mjs';
import { runTool } from './run.mjs';
import { slowTests, withoutSlowTests } from './slow-tests.mjs';

const MODES = ['--all', '--rest'];
const given = process.argv.slice(2);
const mode = MODES.find(name => given.includes(name));
const args = given.filter(argument => !MODES.includes(argument));

/** The files that the arguments name are not left out. A word after an option is taken for the option's value. */
const namesFiles = args.some(
  (argument, at) => !argument.startsWith('-') && (argument.includes('/') || !args[at - 1]?.startsWith('-')),
);
const leavesOut = mode === undefined && !namesFiles;

/** The slow ones wait for servers and browsers for more than half of their time. */
const workers = availableParallelism() * 2;

if (leavesOut) args.push(...withoutSlowTests);
else if (mode === '--rest') args.unshift(`--maxWorkers=${workers}`, ...Object.keys(slowTests));

/** Random tests run a tenth of their rounds, or fewer, where a person waits for them. */
const fewerRounds = { ROUNDS: 'few' };
const isShort = leavesOut && process.env.CI !== 'true';

process.exitCode = runTool('jest', args, isShort ? { ...fewerRounds, ...process.env } : {});

const missing = missingEngines().map(({ name }) => name);
if (missing.length > 0) console.log(`\nNot installed: ${missing.join(', ')}. npm run engines installs them.`);
if (leavesOut) {
  console.log('\nLeft out, because they take minutes. npm run test:all runs everything:');
  for (const what of Object.values(slowTests)) console.log(`  - ${what}`);
  if (isShort) console.log('  - most rounds of the random tests');
}
