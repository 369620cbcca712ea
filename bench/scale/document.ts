import { readFileSync, writeFileSync } from 'node:fs';

const PLACE = /(<!-- a million sessions -->\n)[^]*(<!-- end of a million sessions -->)/;

/** Writes a report into its section of a document. */
export function writeInto(file: string, report: string): void {
  const text = readFileSync(file, 'utf8');
  if (!PLACE.test(text)) throw new Error(`${file} has no place for the report`);
  writeFileSync(
    file,
    text.replace(PLACE, (_, head: string, end: string) => `${head}\n${report.trim()}\n\n${end}`),
  );
}
