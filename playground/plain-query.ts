import type { Middleware } from 'koa';

/** More characters than any name here has. */
const LONGEST = 200;

/** A letter, a digit, a punctuation mark or a symbol. Blanks and marks of no width are none of them. */
const VISIBLE = /[\p{L}\p{N}\p{P}\p{S}]/u;

/** Refuses a query that no route here can mean: a parameter that is given twice, is blank, or is very long. */
export const plainQuery: Middleware = async (ctx, next) => {
  const fault = Object.entries(ctx.query).map(faultOf).find(Boolean);
  if (fault === undefined) {
    await next();
    return;
  }
  ctx.status = 400;
  ctx.body = { name: 'BadRequestError', message: fault };
};

function faultOf([name, value = '']: [string, string | string[] | undefined]): string | undefined {
  if (Array.isArray(value)) return `${name}: given ${value.length} times; write it once`;
  if (value !== '' && !VISIBLE.test(value)) return `${name}: only blanks; write something that can be read`;
  return value.length > LONGEST ? `${name}: at most ${LONGEST} characters` : undefined;
}
