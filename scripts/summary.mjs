// Adds up the counts of Jest's result files, and prints the sums as the closing line.
import { readFileSync } from 'node:fs';

const results = process.argv.slice(2).map(file => JSON.parse(readFileSync(file, 'utf8')));
const sum = key => results.reduce((total, result) => total + result[key], 0);
const skipped = sum('numPendingTests');

console.log(
  `${sum('numPassedTests')} passed, ${sum('numFailedTests')} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
);
if (results.some(result => !result.success)) process.exitCode = 1;
