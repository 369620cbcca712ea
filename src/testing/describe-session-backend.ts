import { randomBytes } from 'node:crypto';
import { isNativeError } from 'node:util/types';
import type { SessionBackend } from '../core/backend.js';
import { SessionConfigurationError } from '../core/errors.js';
import type { Bench, Sections } from './conformance/case.js';
import { everybody } from './conformance/everybody.js';
import { expiry } from './conformance/expiry.js';
import { failuresAfter } from './conformance/failures.js';
import { handles } from './conformance/handles.js';
import { limits } from './conformance/limits.js';
import { news } from './conformance/news.js';
import { principals } from './conformance/principals.js';
import { races } from './conformance/races.js';
import { values } from './conformance/values.js';
import { writes } from './conformance/writes.js';
import { SeededRandom } from './random.js';

/** Options of {@link describeSessionBackend}. */
export interface DescribeSessionBackendOptions {
  /**
   * Opens another handle on the store of a backend that `open` made: a second connection, or, with `openInProcess`, one in
   * another process. It must also work after the first one was closed. If it is given, races are spread over all handles, and
   * each handle must see what another one was told.
   */
  openAgain?: (first: SessionBackend) => SessionBackend | Promise<SessionBackend>;
  /**
   * The number of handles that `openAgain` opens in each case; 2. Use 0 if only one at a time can have the store open:
   * `openAgain` is then called after the first one is closed, and once before, when it may reject.
   */
  extraHandles?: number;
  /**
   * Cuts a backend that `open` made off from its engine, as an outage does: ends its pool, destroys its client, deletes its
   * folder. If it is given, each method must reject from then on, instead of answering that what it cannot see is absent.
   */
  cutOff?: (backend: SessionBackend) => unknown;
  /**
   * The number of random races in the resurrection case, and ten times the number in the revocation case; 1,000. With fewer,
   * cases that go one step after another have fewer rounds, too.
   */
  races?: number;
  /** Seed of the random choices; a new one in each run. A failure prints the one to give here. */
  seed?: number;
  /**
   * Seconds before a case counts as failed; 120. Some test runners ignore it and take the timeout from their own settings.
   */
  timeout?: number;
}

type Describe = (name: string, body: () => void) => unknown;
type It = (name: string, body: () => Promise<void>, timeout?: number) => unknown;

const SECTIONS: Sections = {
  ...writes,
  ...principals,
  ...values,
  ...expiry,
  ...everybody,
  ...limits,
  ...news,
  ...races,
};

/**
 * The contract of `SessionBackend` as a test suite: call it in a test file, once for each way to set a backend up.
 *
 * It registers its cases with the `describe` and `it` that the test runner has made global (Jest, Vitest with
 * `globals: true`, Mocha; for `node:test` assign them: `Object.assign(globalThis, { describe, it })`).
 *
 * ```ts
 * describeSessionBackend('MyBackend', () => new MyBackend({ folder: mkdtempSync('/tmp/sessions-') }));
 * ```
 *
 * @param name what the suite is called in the report
 * @param open makes a backend whose store is empty and apart from all others. Called once for each case, which closes it.
 * @throws SessionConfigurationError when no `describe` and `it` are global, or an option makes no sense
 */
export function describeSessionBackend(
  name: string,
  open: () => SessionBackend | Promise<SessionBackend>,
  options: DescribeSessionBackendOptions = {},
): void {
  const {
    openAgain,
    extraHandles = 2,
    cutOff,
    races = 1000,
    seed = randomBytes(4).readUInt32LE(),
    timeout = 120,
    ...unknown
  } = options;
  if (Object.keys(unknown).length > 0) {
    throw new SessionConfigurationError(
      `describeSessionBackend: unknown option ${Object.keys(unknown).join(', ')}; it takes openAgain, extraHandles, cutOff, races, seed, timeout`,
    );
  }
  const { describe, it } = testRunner();

  const run = async (check: (bench: Bench) => Promise<void>): Promise<void> => {
    const opened: SessionBackend[] = [];
    try {
      const backend = await open();
      opened.push(backend);
      const again = async (): Promise<SessionBackend> => {
        if (!openAgain)
          throw new SessionConfigurationError('describeSessionBackend: this case needs the option openAgain');
        const handle = await openAgain(backend);
        opened.push(handle);
        return handle;
      };
      for (let n = 0; openAgain && n < extraHandles; n++) await again();
      await check({ backend, handles: [...opened], openAgain: again, random: new SeededRandom(seed), races });
    } catch (error) {
      // Not instanceof, because a test runner may give the suite an Error of another realm than that of node:assert.
      if (isNativeError(error)) error.message = `${error.message}\n(seed: ${seed})`;
      throw error;
    } finally {
      for (const handle of opened.toReversed()) await handle.close();
    }
  };

  describe(name, () => {
    const sections = { ...SECTIONS, ...(openAgain && handles), ...(cutOff && failuresAfter(cutOff)) };
    for (const [section, cases] of Object.entries(sections)) {
      describe(section, () => {
        for (const [sentence, check] of Object.entries(cases)) it(sentence, () => run(check), timeout * 1000);
      });
    }
  });
}

function testRunner(): { describe: Describe; it: It } {
  const { describe, it } = globalThis as { describe?: Describe; it?: It };
  if (typeof describe !== 'function' || typeof it !== 'function') {
    throw new SessionConfigurationError(
      'describeSessionBackend found no test runner: it needs global functions describe and it. Jest and Mocha have them, Vitest ' +
        "with globals: true; for node:test write Object.assign(globalThis, { describe, it }) after importing both from 'node:test'",
    );
  }
  return { describe, it };
}
