/** One command of a transcript and what it printed. */
export interface Step {
  command: string;
  output: string;
}

/** Reads a block with a command after each `$ ` and its output below it. A `\` at the end of a line continues it. */
export function stepsOf(text: string): Step[] {
  const steps: Step[] = [];
  for (const line of text.replaceAll(/\\\n\s*/g, '').split('\n')) {
    const command = /^\$ (.*)$/.exec(line)?.[1];
    const current = steps.at(-1);
    if (command !== undefined) steps.push({ command, output: '' });
    else if (current) current.output += `${line}\n`;
  }
  return steps;
}

/** Placeholders for the random parts of a transcript, and their patterns. */
export const PLACEHOLDERS: Readonly<Record<string, string>> = {
  token: '[\\w-]{22}\\.[\\w-]{43}\\.[\\w-]{43}',
  id: '[\\w-]{22}',
  key: '[\\w-]{43}',
  bytes: '\\d[\\d,]*',
  date: '[A-Z][a-z]{2}, \\d{2} [A-Z][a-z]{2} \\d{4} [\\d:]{8} GMT',
  time: '\\d{4}-\\d\\d-\\d\\dT[\\d:.]{12}Z',
};

/** Returns a pattern for the whole output, in which only placeholders vary. */
export function patternOf(output: string): RegExp {
  const escaped = withoutEnd(output).replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const pattern = escaped.replaceAll(/<(\w+)>/g, (whole, name: string) => PLACEHOLDERS[name] ?? whole);
  return new RegExp(`^${pattern}$`);
}

/** Returns the output as a terminal shows it: without carriage returns and final line breaks. */
export function asShown(output: string): string {
  return withoutEnd(output.replaceAll('\r', ''));
}

function withoutEnd(output: string): string {
  return output.replace(/\n+$/, '');
}
