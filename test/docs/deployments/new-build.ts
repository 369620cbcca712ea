import type { Build } from './build.js';

const user = { username: 'text', 'note?': 'text' } as const;
const ada = { username: 'ada' };

/** The build that is rolled out, by the rows of docs/deployments.md. */
export const NEW: Record<string, Build> = {
  'a property is added: optional, or with a default': {
    properties: { ...user, theme: 'text' },
    defaults: { theme: 'light' },
    options: { version: 2 },
    logIn: ada,
  },
  'a required property is added, with `migrate`': {
    properties: { ...user, theme: 'text' },
    options: { version: 2, migrate: data => ({ ...data, theme: 'light' }) },
    logIn: { ...ada, theme: 'dark' },
  },
  'a required property is removed': { properties: user, options: { version: 2 }, logIn: ada },
  'an optional property is removed': { properties: user, options: { version: 2 }, logIn: ada },
  'a property is renamed, with `migrate`': {
    properties: { ...user, roles: 'texts' },
    options: { version: 2, migrate: ({ role, ...rest }) => ({ ...rest, roles: [role] }) },
    logIn: { ...ada, roles: ['admin'] },
  },
  'a property is renamed, and the former one is still written': {
    properties: { ...user, role: 'text', roles: 'texts' },
    options: { version: 2, migrate: data => ({ ...data, roles: [data['role']] }) },
    logIn: { ...ada, role: 'admin', roles: ['admin'] },
  },
  'a property is renamed, without versions': {
    properties: { ...user, roles: 'texts' },
    options: { migrate: ({ role, ...rest }) => ({ ...rest, roles: [role] }) },
    logIn: { ...ada, roles: ['admin'] },
  },
  'the type of a property changes, with `migrate`': {
    properties: { ...user, visits: 'number' },
    options: { version: 2, migrate: ({ visits, ...rest }) => ({ ...rest, visits: Number(visits) }) },
    logIn: { ...ada, visits: 7 },
  },
  '`@Principal()` is added': { properties: { ...user, username: 'principal' }, options: { version: 2 }, logIn: ada },
  '`@Principal()` moves to another property': {
    properties: { ...user, email: 'principal' },
    options: { version: 2 },
    logIn: { ...ada, email: 'ada@example.org' },
  },
  'the secret is exchanged in one step: `[new, old]`': { properties: user, secrets: ['new', 'old'], logIn: ada },
  'the secret is exchanged in two steps: here `[old, new]`': { properties: user, secrets: ['old', 'new'], logIn: ada },
  'the second of them: `[new, old]`': { properties: user, secrets: ['new', 'old'], logIn: ada },
  'the backend is exchanged': { properties: user, stores: ['new'], logIn: ada },
  'the backend is moved: `MovingBackend({ from: next, to: present })`': {
    properties: user,
    stores: ['old', 'new'],
    logIn: ada,
  },
  'the second step: `MovingBackend({ from: present, to: next })`': {
    properties: user,
    stores: ['new', 'old'],
    logIn: ada,
  },
};
