/** One command of a transcript and what it printed. */
export interface Step {
  command: string;
  output: string;
}

/** Reads a block in which each command stands after `$ ` and its output below it. `\` at a line's end continues it. */
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

/** What may stand in a transcript for what is random, and what it stands for. */
export const PLACEHOLDERS: Readonly<Record<string, string>> = {
  token: '[\\w-]{22}\\.[\\w-]{43}\\.[\\w-]{43}',
  id: '[\\w-]{22}',
  date: '[A-Z][a-z]{2}, \\d{2} [A-Z][a-z]{2} \\d{4} [\\d:]{8} GMT',
  time: '\\d{4}-\\d\\d-\\d\\dT[\\d:.]{12}Z',
};

/** A pattern for the whole output, in which placeholders are the only freedom. */
export function patternOf(output: string): RegExp {
  const escaped = withoutEnd(output).replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const pattern = escaped.replaceAll(/<(\w+)>/g, (whole, name: string) => PLACEHOLDERS[name] ?? whole);
  return new RegExp(`^${pattern}$`);
}

/** As a terminal shows it: no carriage returns, and no telling whether the last line was ended. */
export function asShown(output: string): string {
  return withoutEnd(output.replaceAll('\r', ''));
}

function withoutEnd(output: string): string {
  return output.replace(/\n+$/, '');
}
