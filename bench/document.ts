import { readFileSync, writeFileSync } from 'node:fs';

/** Writes a report into its section of a document, between two comments with the name of the place. */
export function writeInto(file: string, place: string, report: string): void {
  const section = new RegExp(`(<!-- ${place} -->\\n)[^]*(<!-- end of ${place} -->)`);
  replaceIn(file, section, (_, head: string, end: string) => `${head}\n${report.trim()}\n\n${end}`);
}

/**
 * Replaces a part of a document.
 *
 * @throws Error when the document has no such part
 */
export function replaceIn(file: string, part: RegExp, by: (...match: string[]) => string): void {
  const text = readFileSync(file, 'utf8');
  if (!part.test(text)) throw new Error(`${file} has no place for the report: ${String(part)}`);
  writeFileSync(file, text.replace(part, by));
}
