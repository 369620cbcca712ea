import { keepingLast } from '../core/keeping-last.js';

/**
 * The most cookies of one name that are read. It is more than a browser sends, so that planted garbage in front of a token
 * does not hide it, and few enough that checking all of them takes no time.
 */
const MAX_VALUES = 256;

const NONE: readonly string[] = [];

const SPACE = 0x20;
const TAB = 0x09;

/**
 * The values that a Cookie header has under a name, at most {@link MAX_VALUES}, in its order.
 *
 * One pass over the header, with nothing decoded: names match byte for byte, so that `%73ession`, `Session` or a name with
 * odd white space before it are other cookies. Only spaces and tabs between the pairs are passed over (RFC 6265bis, 5.6).
 */
export function cookieValues(header: string, name: string): readonly string[] {
  let values: string[] | undefined;
  const wanted = pairOf(name);
  let at = header.indexOf(wanted);
  while (at !== -1) {
    const start = at + wanted.length;
    if (startsPair(header, at)) {
      let end = header.indexOf(';', start);
      if (end === -1) end = header.length;
      const value = header.slice(start, endOfValue(header, start, end));
      // An array that grows takes room for many more.
      if (values) values.push(value);
      else values = [value];
      if (values.length === MAX_VALUES) break;
      at = header.indexOf(wanted, end);
    } else {
      at = header.indexOf(wanted, start);
    }
  }
  return values ?? NONE;
}

/** An application has few cookies, and putting two texts together takes as long as the search. */
const pairOf = keepingLast(name => `${name}=`);

function startsPair(header: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && isBlank(header.charCodeAt(before))) before--;
  return before < 0 || header[before] === ';';
}

function endOfValue(header: string, start: number, end: number): number {
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--;
  return end;
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
