/** Where the log is written to. */
const written: Record<string, unknown>[] = [];
const destination = { write: (line: string) => void written.push(JSON.parse(line)) };
