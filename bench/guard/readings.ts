import { join } from 'node:path';

import { Launch } from '../launch.js';
import { type Spread, quartilesOf } from '../statistics.js';
import type { Build } from './build.js';
import { NAMES, SCENARIOS, type ScenarioName } from './scenarios.js';
import type { Made, Order, Questions } from './worker.js';

export type Figures = Record<ScenarioName, Made>;

const ANSWER_WITHIN = 60_000;

/**
 * Without the optimising compilers, whose decisions change with the time at which they run, and a young generation so large
 * that nothing is collected. So an allocation that would be optimised away counts, and two runs give the same sums.
 */
const COUNTING = [
  '--no-opt',
  '--no-maglev',
  '--no-flush-bytecode',
  '--single-threaded',
  '--min-semi-space-size=128',
  '--max-semi-space-size=128',
];

/** Short and many, so that what else runs on the machine touches all builds alike. */
const ROUNDS = 60;
const WARM_UP_ROUNDS = 15;

/** What the session adds to each request of a build. */
export async function figuresOf(build: Build): Promise<Figures> {
  const entries: [ScenarioName, Made][] = [];
  const plain = await start(build, 'plain', COUNTING);
  for (const name of NAMES) {
    const ours = await start(build, name, COUNTING);
    const [its, without] = [await ours.ask('made', name), await plain.ask('made', name)];
    await ours.close();
    entries.push([name, { bytes: Math.round(its.bytes - without.bytes), promises: its.promises - without.promises }]);
  }
  await plain.close();
  return Object.fromEntries(entries) as Figures;
}

/** CPU time that the session adds, as ratios. */
export interface CpuRatios {
  /** One build to another. */
  ratio: Spread;
  /** The same build in two processes: the noise. */
  control: Spread;
}

/** Compares the CPU time of two builds, round by round in turn. */
export async function cpuRatios(build: Build, other: Build, name: ScenarioName): Promise<CpuRatios> {
  const launches = {
    plain: await start(build, 'plain'),
    build: await start(build, name),
    other: await start(other, name),
    again: await start(build, name),
  };
  const ids = Object.keys(launches) as (keyof typeof launches)[];
  const ratios: number[] = [];
  const controls: number[] = [];
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const cpu = { plain: 0, build: 0, other: 0, again: 0 };
    for (const id of round % 2 === 0 ? ids : ids.toReversed()) cpu[id] = await launches[id].ask('cpu', name);
    if (round < 0) continue;
    ratios.push((cpu.build - cpu.plain) / (cpu.other - cpu.plain));
    controls.push((cpu.again - cpu.plain) / (cpu.build - cpu.plain));
  }
  for (const id of ids) await launches[id].close();
  return { ratio: quartilesOf(ratios), control: quartilesOf(controls) };
}

/** Starts an application of a build: that of a scenario, or the one without sessions. */
function start(
  { bench }: Build,
  name: ScenarioName | 'plain',
  flags: readonly string[] = [],
): Promise<Launch<Questions>> {
  const order: Order =
    name === 'plain' ? { module: 'plain', store: 'none' } : { module: 'ours', store: SCENARIOS[name].store };
  return Launch.start(join(bench, 'guard', 'worker'), order, ANSWER_WITHIN, flags);
}
