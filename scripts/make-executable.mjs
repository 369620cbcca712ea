// Gives programs that tsc wrote the right to be run, which the tarball keeps.
import { chmodSync } from 'node:fs';

for (const file of process.argv.slice(2)) chmodSync(file, 0o755);
