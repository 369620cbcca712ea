import type { Spread } from './statistics.js';

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** Prints the median, and the extremes in brackets. */
export function spread(value: Spread | undefined, digits: number): string {
  if (!value) return '';
  const [median, least, most] = [value.median, value.least, value.most].map(figure => figure.toFixed(digits));
  return `${median} (${least} to ${most})`;
}

export function versionList(versions: Record<string, string>): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}
