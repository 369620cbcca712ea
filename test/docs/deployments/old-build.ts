import type { Build } from './build.js';

const user = { username: 'text', 'note?': 'text' } as const;
const ada = { username: 'ada' };
const first = { version: 1 };

/** The build that runs everywhere, by the rows of docs/deployments.md. */
export const OLD: Record<string, Build> = {
  'a property is added: optional, or with a default': { properties: user, options: first, logIn: ada },
  'a required property is added, with `migrate`': { properties: user, options: first, logIn: ada },
  'a required property is removed': {
    properties: { ...user, theme: 'text' },
    options: first,
    logIn: { ...ada, theme: 'dark' },
  },
  'an optional property is removed': {
    properties: { ...user, 'theme?': 'text' },
    options: first,
    logIn: { ...ada, theme: 'dark' },
  },
  'a property is renamed, with `migrate`': {
    properties: { ...user, role: 'text' },
    options: first,
    logIn: { ...ada, role: 'admin' },
  },
  'a property is renamed, and the former one is still written': {
    properties: { ...user, role: 'text' },
    options: first,
    logIn: { ...ada, role: 'admin' },
  },
  'a property is renamed, without versions': {
    properties: { ...user, role: 'text' },
    logIn: { ...ada, role: 'admin' },
  },
  'the type of a property changes, with `migrate`': {
    properties: { ...user, visits: 'text' },
    options: first,
    logIn: { ...ada, visits: '7' },
  },
  '`@Principal()` is added': { properties: user, options: first, logIn: ada },
  '`@Principal()` moves to another property': {
    properties: { ...user, username: 'principal', email: 'text' },
    options: first,
    logIn: { ...ada, email: 'ada@example.org' },
  },
  'the secret is exchanged in one step: `[new, old]`': { properties: user, secrets: ['old'], logIn: ada },
  'the secret is exchanged in two steps: here `[old, new]`': { properties: user, secrets: ['old'], logIn: ada },
  'the second of them: `[new, old]`': { properties: user, secrets: ['old', 'new'], logIn: ada },
  'the backend is exchanged': { properties: user, stores: ['old'], logIn: ada },
  'the backend is moved: `MovingBackend({ from: next, to: present })`': {
    properties: user,
    stores: ['old'],
    logIn: ada,
  },
  'the second step: `MovingBackend({ from: present, to: next })`': {
    properties: user,
    stores: ['old', 'new'],
    logIn: ada,
  },
};
