/*
 * Runs the long form of a test that has a short one:
 *
 *     node scripts/campaign.mjs NAME [jest arguments]
 *
 * A number that the environment names is kept: with KILLS=1000 the campaign kills 1,000 times.
 */
import { runTool } from './run.mjs';

const CAMPAIGNS = {
  kill: { numbers: { KILLS: '200' }, args: ['-w', '1', 'test/campaigns/kill'] },
  outage: { numbers: { OUTAGES: '20' }, args: ['-w', '1', 'test/campaigns/outages'] },
  race: { numbers: { RACES: '100000' }, args: ['-w', '1', 'test/campaigns/races'] },
  live: { numbers: { REVOCATIONS: '1000' }, args: ['-w', '1', 'test/campaigns/live'] },
  interleavings: {
    numbers: { RACES: '100000', FLOOD: '1000000' },
    args: ['--runInBand', 'test/campaigns/interleavings', 'test/security/faults'],
  },
  model: { numbers: { SEQUENCES: '10000' }, args: ['test/security/model-based'] },
};

const [name = '', ...args] = process.argv.slice(2);
const campaign = Object.hasOwn(CAMPAIGNS, name) ? CAMPAIGNS[name] : undefined;
if (campaign) process.exitCode = runTool('jest', [...campaign.args, ...args], { ...campaign.numbers, ...process.env });
else {
  console.error(`No campaign ${name}; write one of ${Object.keys(CAMPAIGNS).join(', ')}`);
  process.exitCode = 1;
}
