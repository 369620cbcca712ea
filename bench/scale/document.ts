import { readFileSync, writeFileSync } from 'node:fs';

const PLACE = /(<!-- a million sessions -->\n)[^]*(<!-- end of a million sessions -->)/;
const ROW = /^\| cost per session \|.*$/m;

/** Writes a report into its section of a document, and the row into its table. */
export function writeInto(file: string, report: string, row: string): void {
  const text = readFileSync(file, 'utf8');
  if (!PLACE.test(text) || !ROW.test(text)) throw new Error(`${file} has no place for the report`);
  const changed = text
    .replace(PLACE, (_, head: string, end: string) => `${head}\n${report.trim()}\n\n${end}`)
    .replace(ROW, () => row);
  writeFileSync(file, changed);
}
