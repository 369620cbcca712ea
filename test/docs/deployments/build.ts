import { IsInt, IsOptional, IsString } from 'class-validator';
import { type ModelOptions, Principal, SessionData } from '../../../src/koa/index.js';

type PropertyDecorator_ = (target: object, property: string) => void;

/** What a property may be. */
const RULES = {
  text: [IsString()],
  texts: [IsString({ each: true })],
  number: [IsInt()],
  principal: [IsString(), Principal() as PropertyDecorator_],
} as const;

/** One build's part of a row: its model, and what its service is set to. */
export interface Build {
  /** `?` after the names of those that may be missing. */
  properties: Record<string, keyof typeof RULES>;
  defaults?: Record<string, unknown>;
  options?: ModelOptions;
  secrets?: string[];
  /** The stores that it uses: the one that log-ins come into, and one that it reads besides. */
  stores?: [string, string?];
  /** What its log-in gives. */
  logIn: Record<string, unknown>;
}

export function modelOf({ properties, defaults = {}, options = {} }: Build): new () => object {
  class UserSession {
    constructor() {
      Object.assign(this, structuredClone(defaults));
    }
  }
  for (const [name, kind] of Object.entries(properties)) {
    const property = name.replace('?', '');
    for (const rule of RULES[kind]) rule(UserSession.prototype, property);
    if (name.endsWith('?')) IsOptional()(UserSession.prototype, property);
  }
  SessionData(options)(UserSession);
  return UserSession;
}
