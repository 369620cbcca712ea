/**
 * Returns text in a form that a text column in UTF-8 can store. Text with a NUL or a lone surrogate, which such columns refuse,
 * cut off or replace, is escaped after a backslash; so is text that begins with a backslash. All other text, nearly everything,
 * is stored unchanged, for people to read and to query.
 */
export function toColumn(text: string): string {
  if (!text.startsWith('\\') && !UNFIT.test(text)) return text;
  return `\\${text.replace(ESCAPED, character => `\\${character.charCodeAt(0).toString(16).padStart(4, '0')}`)}`;
}

export function fromColumn(text: string): string {
  if (!text.startsWith('\\')) return text;
  return text.slice(1).replace(/\\([\da-f]{4})/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
}

const UNFIT = /[\0\p{Surrogate}]/u;
const ESCAPED = /[\0\\\p{Surrogate}]/gu;
