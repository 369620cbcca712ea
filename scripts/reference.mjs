// Writes docs/reference/ from the doc comments of everything that the package exports. With --check it writes nothing, and
// fails when what lies there is stale. Either way it fails when a public name has no comment.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import ts from 'typescript';

const root = path.resolve(import.meta.dirname, '..');
const folder = path.join(root, 'docs', 'reference');
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));

const entries = Object.entries(manifest.exports)
  .filter(([, target]) => typeof target === 'object')
  .map(([subpath, target]) => ({
    specifier: path.posix.join(manifest.name, subpath),
    page: subpath === '.' ? 'root.md' : `${subpath.slice(2)}.md`,
    source: path.join(root, target.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')),
  }))
  .sort((a, b) => (a.page === 'root.md' ? -1 : b.page === 'root.md' ? 1 : a.page.localeCompare(b.page)));

const { config } = ts.readConfigFile(path.join(root, 'tsconfig.build.json'), file => readFileSync(file, 'utf8'));
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
const program = ts.createProgram(
  entries.map(({ source }) => source),
  options,
);
const checker = program.getTypeChecker();

/** Exported name → where it is described, so that pages can point at each other. */
const places = new Map();
const uncommented = [];

const modules = entries.map(entry => {
  const symbols = checker
    .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry.source)))
    .map(symbol => ({
      name: symbol.name,
      symbol: symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol,
    }));
  for (const { name } of symbols)
    if (!places.has(name)) places.set(name, { page: entry.page, anchor: name.toLowerCase() });
  return { ...entry, symbols };
});

const GROUPS = [
  [
    'Decorators',
    ({ declarations: [first] }) =>
      ['src/controllers/', 'src/model/'].some(place => isFrom(first, place)) && ts.isFunctionDeclaration(first),
  ],
  ['Functions', ({ declarations: [first] }) => ts.isFunctionDeclaration(first)],
  ['Errors', ({ name }) => name.endsWith('Error')],
  ['Classes', ({ declarations: [first] }) => ts.isClassDeclaration(first)],
  ['Types', () => true],
];

const pages = new Map(modules.map(module => [module.page, pageOf(module)]));
pages.set('README.md', indexPage());

if (uncommented.length > 0) {
  console.error(`No doc comment: ${uncommented.join(', ')}`);
  process.exit(1);
}
if (process.argv.includes('--check')) check();
else {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [page, text] of pages) writeFileSync(path.join(folder, page), text);
}

function check() {
  const there = existsSync(folder) ? readdirSync(folder) : [];
  const stale = [...new Set([...pages.keys(), ...there])].filter(
    page => !there.includes(page) || readFileSync(path.join(folder, page), 'utf8') !== pages.get(page),
  );
  if (stale.length === 0) return;
  console.error(`Stale in docs/reference: ${stale.join(', ')}. Run: npm run reference`);
  process.exit(1);
}

function indexPage() {
  const lines = ['# API reference', '', 'Made of the doc comments in the source by `npm run reference`.', ''];
  for (const { specifier, page, symbols } of modules) {
    lines.push(`## [\`${specifier}\`](${page})`, '');
    for (const [title, names] of grouped(symbols))
      lines.push(`${title}: ${names.map(({ name }) => link(name, 'README.md')).join(', ')}`, '');
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

function pageOf({ specifier, page, symbols }) {
  const lines = [`# \`${specifier}\``, '', '[All entry points](README.md)', ''];
  for (const [, members] of grouped(symbols)) for (const member of members) lines.push(...describe(member, page));
  return `${lines.join('\n').trimEnd()}\n`;
}

function grouped(symbols) {
  const left = symbols.map(({ name, symbol }) => ({ name, symbol, declarations: symbol.declarations }));
  return GROUPS.map(([title, belongs]) => {
    const members = left.filter(belongs);
    for (const member of members) left.splice(left.indexOf(member), 1);
    return [title, members.sort((a, b) => a.name.localeCompare(b.name))];
  }).filter(([, members]) => members.length > 0);
}

function describe({ name, symbol, declarations }, page) {
  const lines = [`## ${name}`, '', ...fence(headOf(name, declarations)), ...comment(symbol, name, page)];
  const [declaration] = declarations;
  if (ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)) {
    const properties = [];
    for (const member of publicMembers(declaration)) {
      const title = ts.isConstructorDeclaration(member) ? `new ${name}` : member.name.getText();
      const own = ts.isConstructorDeclaration(member) ? member.symbol : checker.getSymbolAtLocation(member.name);
      const described = comment(own, `${name}.${title}`, page);
      if (isCallable(member)) {
        const heading = ts.isConstructorDeclaration(member) ? `${title}()` : `${name}.${title}()`;
        lines.push(`### ${heading}`, '', ...fence(signature(member, title)), ...described);
      } else properties.push(`- \`${property(member)}\`: ${described.join(' ').replace(/\s+/g, ' ').trim()}`);
    }
    const at = lines.findIndex(line => line.startsWith('### '));
    if (properties.length > 0) lines.splice(at === -1 ? lines.length : at, 0, ...properties, '');
  }
  return lines;
}

/** What the class or interface itself adds: overrides are described where they come from. */
function publicMembers(declaration) {
  const bases = (declaration.heritageClauses ?? []).flatMap(({ types }) =>
    types.map(type => checker.getTypeAtLocation(type)),
  );
  // What is inherited from a type that has no entry of its own is described here.
  const hidden = bases.filter(base => isHidden(base.symbol)).flatMap(base => base.symbol.declarations);
  const described = bases.filter(base => !isHidden(base.symbol));
  const members = [...declaration.members, ...hidden.flatMap(base => base.members ?? [])];
  return members.filter(member => {
    if (ts.getCombinedModifierFlags(member) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) return false;
    if (ts.getJSDocTags(member).some(tag => tag.tagName.text === 'internal') || isMarkedInternal(member)) return false;
    if (ts.isConstructorDeclaration(member)) return member.parameters.length > 0 && !isAbstract(declaration);
    if (ts.isSetAccessorDeclaration(member)) return false;
    if (!member.name || ts.isPrivateIdentifier(member.name)) return false;
    return !described.some(base => base.getProperty(member.name.getText()));
  });
}

function isHidden({ name, declarations }) {
  return !places.has(name) && isFrom(declarations[0], 'src/');
}

function isMarkedInternal(member) {
  const [range] = ts.getLeadingCommentRanges(member.getSourceFile().text, member.pos)?.slice(-1) ?? [];
  return range !== undefined && member.getSourceFile().text.slice(range.pos, range.end).includes('@internal');
}

function isAbstract(declaration) {
  return Boolean(ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Abstract);
}

function isCallable(member) {
  return ts.isMethodDeclaration(member) || ts.isMethodSignature(member) || ts.isConstructorDeclaration(member);
}

function headOf(name, declarations) {
  const [declaration] = declarations;
  if (ts.isFunctionDeclaration(declaration)) {
    const overloads = declarations.filter(({ body }) => !body);
    return (overloads.length > 0 ? overloads : declarations).map(one => signature(one, `function ${name}`)).join('\n');
  }
  if (ts.isTypeAliasDeclaration(declaration))
    return oneLine(
      declaration
        .getText()
        .replace(/^export /, '')
        .replace(/;$/, ''),
    );
  const kind = ts.isInterfaceDeclaration(declaration)
    ? 'interface'
    : isAbstract(declaration)
      ? 'abstract class'
      : 'class';
  const heritage = (declaration.heritageClauses ?? []).map(clause => ` ${clause.getText()}`).join('');
  return `${kind} ${name}${typeParameters(declaration)}${heritage}`;
}

function signature(node, title) {
  const parameters = node.parameters
    .map(parameter => oneLine(parameter.getText().replace(/^(private |readonly )+/, '')))
    .join(', ');
  return `${title}${typeParameters(node)}(${parameters})${node.type ? `: ${oneLine(node.type.getText())}` : ''}`;
}

function property(member) {
  const readonly =
    ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Readonly || ts.isGetAccessorDeclaration(member)
      ? 'readonly '
      : '';
  const type = member.type ? `: ${oneLine(member.type.getText())}` : ` = ${member.initializer?.getText()}`;
  return `${readonly}${member.name.getText()}${member.questionToken ? '?' : ''}${type}`;
}

function typeParameters(node) {
  return node.typeParameters ? `<${node.typeParameters.map(parameter => parameter.getText()).join(', ')}>` : '';
}

function comment(symbol, name, page) {
  const text = ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();
  if (text === '' && !name.includes('.new ')) uncommented.push(name);
  const lines =
    text === ''
      ? []
      : [linked(text, page).replaceAll('```ts\n', `<!-- snippet: prelude=${preludesOf(page)} -->\n\`\`\`ts\n`), ''];
  const tags = symbol
    .getJsDocTags(checker)
    .map(({ name: tag, text: parts }) => ({ tag, text: linked(ts.displayPartsToString(parts), page) }));
  const listed = [
    ...tags.filter(({ tag }) => tag === 'param').map(({ text: said }) => said.replace(/^(\w+)\s+(?:- )?/, '`$1`: ')),
    ...tags.filter(({ tag }) => tag === 'returns').map(({ text: said }) => `Returns ${said}`),
    ...tags.filter(({ tag }) => tag === 'throws').map(({ text: said }) => `Throws ${throwing(said, page)}`),
  ];
  if (listed.length > 0) lines.push(...listed.map(item => `- ${oneLine(item)}`), '');
  return lines;
}

/** What examples in doc comments take for granted: something of their own page's, where it needs that, and what all have. */
function preludesOf(page) {
  const own = `reference-${page.replace('.md', '')}`;
  return existsSync(path.join(root, 'docs', 'preludes', `${own}.ts`)) ? `${own},reference` : 'reference';
}

function linked(text, page) {
  return text.replaceAll(/\{@link (\w+)[^}]*\}/g, (_, name) => link(name, page));
}

/** The names of errors that a `@throws` begins with. */
function throwing(text, page) {
  return text.replace(/^\w+(, \w+)*/, names =>
    names
      .split(', ')
      .map(name => link(name, page))
      .join(', '),
  );
}

function link(name, page) {
  const place = places.get(name);
  if (!place) return `\`${name}\``;
  return `[\`${name}\`](${place.page === page ? '' : place.page}#${place.anchor})`;
}

function fence(text) {
  return ['```typescript', text, '```', ''];
}

function oneLine(text) {
  return text.replace(/\s+/g, ' ').trim();
}

function isFrom(declaration, place) {
  return path.relative(root, declaration.getSourceFile().fileName).split(path.sep).join('/').startsWith(place);
}
