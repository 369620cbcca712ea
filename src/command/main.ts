#!/usr/bin/env node
import { type Command, CommanderError } from 'commander';
import { EXIT, Failure } from './failure.js';
import { program } from './program.js';
import { storeAddressOf } from './store-address.js';

const NAME = 'routing-controllers-sessions';

let exitCode: number = EXIT.done;

/** Ends the process when all output is out, whatever the driver still has open. */
function end(): void {
  process.stdout.write('', () => process.exit(exitCode));
}

/** Whoever reads has enough: `| head`. */
function onPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(exitCode);
  throw error;
}

async function main(): Promise<void> {
  process.stdout.on('error', onPipe);
  process.stderr.on('error', onPipe);
  const command = program(
    text => process.stdout.write(text),
    code => (exitCode = code),
  );
  for (const each of [command, ...command.commands]) {
    each.exitOverride();
    each.configureOutput({
      outputError: (text, write) => write(`${NAME}: ${oneLine(text.replace(/^error: /, ''))}\n`),
    });
  }
  try {
    await command.parseAsync(withIdLast(command, process.argv.slice(2)), { from: 'user' });
  } catch (error) {
    exitCode = report(error);
  }
  end();
}

/** Moves an id that begins with a dash, as one in 64 does, to where it cannot be an option. */
function withIdLast(command: Command, words: readonly string[]): readonly string[] {
  const subcommand = command.commands.find(each => each.name() === words[0]);
  const takeValues = subcommand?.options.filter(({ required }) => required).map(({ long }) => long);
  const at = words.findIndex((word, n) => /^-[\w-]{21}$/.test(word) && !takeValues?.includes(words[n - 1]));
  if (at === -1 || words.includes('--')) return words;
  return [...words.slice(0, at), ...words.slice(at + 1), '--', words[at] ?? ''];
}

/** Prints an error in one line, and returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const isFailure = error instanceof Failure;
  const text = isFailure ? error.message : `the store failed: ${messageOf(error)}`;
  process.stderr.write(`${NAME}: ${oneLine(hidden(text))}\n`);
  if (process.argv.includes('--debug') && error instanceof Error)
    process.stderr.write(`${hidden(error.stack ?? '')}\n`);
  return isFailure ? error.exitCode : EXIT.failure;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // An attempt on several addresses of one host fails with an error that has no message itself.
  const { errors, code } = error as { errors?: unknown[]; code?: string };
  if (error.message === '' && Array.isArray(errors)) return [...new Set(errors.map(messageOf))].join('; ');
  return error.message === '' ? (code ?? error.name) : error.message;
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

/** Returns text without a password that a driver's error may repeat. */
function hidden(text: string): string {
  return secrets().reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
}

function secrets(): string[] {
  const given = process.argv.flatMap((word, n) =>
    word === '--store' ? [process.argv[n + 1]] : word.startsWith('--store=') ? [word.slice(8)] : [],
  );
  return [...given, process.env['SESSION_STORE']].flatMap(address => {
    try {
      return storeAddressOf(address).secrets;
    } catch {
      // Not an address, and so nothing that a driver had.
      return [];
    }
  });
}

void main();
