/** The stem of a word, so that 'change' finds 'changing'. VitePress writes its source into the pages: it must need nothing else. */
export function stem(term) {
  return term.toLowerCase().replace(/(?<=...)(ing|ed|es|e|s)$/, '');
}
