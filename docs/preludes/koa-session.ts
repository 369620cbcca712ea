/** Stands where an application's own koa-session does: sets `ctx.session`, of a header here. */
const koaSession: Koa.Middleware = (ctx, next) => {
  ctx['session'] = { username: ctx.get('X-Old-Session') || undefined };
  return next();
};
