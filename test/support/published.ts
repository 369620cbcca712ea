import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(__dirname, '../..');

/** The package as it is published, from what the sources are at this moment, in a folder where Node finds it. */
export interface Published {
  /** A folder for programs that import the package. */
  folder: string;
  remove: () => void;
}

export function publish(): Published {
  // Below node_modules, so that the package finds its peers.
  const folder = mkdtempSync(path.join(ROOT, 'node_modules', '.published-'));
  const home = path.join(folder, 'node_modules/routing-controllers-sessions');
  mkdirSync(home, { recursive: true });
  execFileSync(process.execPath, [path.join(ROOT, 'scripts/bundle.mjs'), path.join(home, 'dist')]);
  const { name, type, exports } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as object & {
    name: string;
    type: string;
    exports: object;
  };
  writeFileSync(path.join(home, 'package.json'), JSON.stringify({ name, type, exports }));
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}
