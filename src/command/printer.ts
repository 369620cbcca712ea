/** Writes a subcommand's result: as JSON in one line, or for people. */
export class Printer {
  constructor(
    private readonly isJson: boolean,
    private readonly write: (text: string) => void,
  ) {}

  print(result: object, text: string): void {
    this.write(this.isJson ? `${JSON.stringify(result)}\n` : `${text}\n`);
  }
}

/** Returns rows as aligned columns. Numbers are aligned to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map(row => row.map(cell => (typeof cell === 'number' ? grouped(cell) : printable(cell))));
  const widths = (cells[0] ?? []).map((_, n) => Math.max(...cells.map(row => row[n]?.length ?? 0)));
  const isNumber = widths.map((_, n) => rows.some(row => typeof row[n] === 'number'));
  const lines = cells.map(row => row.map((cell, n) => pad(cell, widths[n] ?? 0, isNumber[n] === true)).join('  '));
  return lines.map(line => line.trimEnd()).join('\n');
}

function pad(text: string, width: number, isNumber: boolean): string {
  return isNumber ? text.padStart(width) : text.padEnd(width);
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}

/** Returns text without what a terminal would obey, because principals and user agents come from anywhere. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    character => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** Returns an instant as ISO text; `'unknown'` for that of a record which this version cannot read. */
export function instant(time: number): string {
  return Number.isFinite(time) && Math.abs(time) <= 8.64e15 ? new Date(time).toISOString() : 'unknown';
}
