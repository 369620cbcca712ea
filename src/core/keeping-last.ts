/** Returns a function that keeps its last result, for what one call after another asks of the same text. */
export function keepingLast<R>(resultOf: (text: string) => R): (text: string) => R {
  let last: { text: string; result: R } | undefined;
  return text => {
    if (last?.text !== text) last = { text, result: resultOf(text) };
    return last.result;
  };
}
