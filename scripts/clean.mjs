// Removes the output of an earlier build, so that a file that was deleted from the source is not published.
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
