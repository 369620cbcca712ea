export interface SetCookieParts {
  name: string;
  value: string;
  /** By lower-case name; `true` for those without a value. */
  attributes: Record<string, string | true>;
}

export function parseSetCookie(header: string): SetCookieParts {
  const [pair = '', ...rest] = header.split('; ');
  const cut = pair.indexOf('=');
  const attributes = rest.map(attribute => {
    const at = attribute.indexOf('=');
    return at === -1
      ? ([attribute.toLowerCase(), true] as const)
      : ([attribute.slice(0, at).toLowerCase(), attribute.slice(at + 1)] as const);
  });
  return { name: pair.slice(0, cut), value: pair.slice(cut + 1), attributes: Object.fromEntries(attributes) };
}
