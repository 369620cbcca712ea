// Removes what an earlier build left, so that a file deleted from the source is not published.
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
