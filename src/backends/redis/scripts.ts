import { RECORD_FORMAT } from '../record-text.js';
import { Script } from './script.js';

/**
 * Functions of the scripts. Each script derives all key names from its first key and the record's name in it, so that a
 * prefix that the client itself adds stays in place.
 */
const FUNCTIONS = `
local SLACK = 1000

local function prefixOf(key, ending) return string.sub(key, 1, #key - #ending) end

local function indexKey(prefix, principal) return prefix .. '{p:' .. principal .. '}' end

-- The state of a record, 'gone' or 'here', and its parts. What is no record of this format has no parts.
local function load(key)
  local text = redis.call('GET', key)
  if not text then return 'gone' end
  local principal, version, seen, expires, rest =
    string.match(text, '^(%S+) ${RECORD_FORMAT} (%S+) (%S+) (%S+) (.*)$')
  return 'here', principal, version, seen, expires, rest
end

-- Names a record in an index for as long as it can live, and drops the names of records that Redis has forgotten. A name
-- never gets less time than it has, because the record may be one that lives longer.
local function addToIndex(key, member, ttl)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local named = redis.call('ZSCORE', key, member)
  if not named or tonumber(named) < now + ttl + SLACK then redis.call('ZADD', key, now + ttl + SLACK, member) end
  if redis.call('PTTL', key) < ttl + SLACK then redis.call('PEXPIRE', key, ttl + SLACK) end
end
`;

/** A script and not TIME itself, because all kinds of clients run scripts, and on a master. */
export const clock = new Script(`
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
`);

/** With one server, a record and its index change in one step. */
const TOGETHER = `
local function index(prefix, principal, member, ttl)
  if principal ~= '-' then addToIndex(indexKey(prefix, principal), member, ttl) end
end
local function unindex(prefix, principal, member)
  if principal and principal ~= '-' then redis.call('ZREM', indexKey(prefix, principal), member) end
end
`;

/** In a cluster, the index may be on another server. */
const APART = `
local function index() end
local function unindex() end
`;

/**
 * Scripts that change a record. KEYS[1] is the record, ARGV[1] its name after the prefix; the result is {state, principal}.
 */
export interface RecordScripts {
  /** ARGV: name, text, ttl, principal. `here`: the id was taken. */
  create: Script;
  /** ARGV: name, text, ttl, principal, expected version. */
  update: Script;
  /** ARGV: name, last seen, expiry, ttl, and optionally the required principal. `other`: the record has another one. */
  touch: Script;
  /** ARGV: name, and optionally the required principal. `other`: the record has another one. */
  remove: Script;
}

function recordScripts(indexing: string): RecordScripts {
  const script = (body: string): Script =>
    new Script(`${FUNCTIONS}${indexing}
local key, member = KEYS[1], ARGV[1]
local prefix = prefixOf(key, member)
local state, principal, version, seen, expires, rest = load(key)
${body}`);
  const unlessHere = `if state ~= 'here' then return {state, principal} end`;

  return {
    create: script(`
if state ~= 'gone' then return {'here'} end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
index(prefix, ARGV[4], member, ARGV[3])
return {'gone'}`),

    update: script(`
${unlessHere}
if version ~= ARGV[5] then return {'conflict'} end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
if principal ~= ARGV[4] then unindex(prefix, principal, member) end
index(prefix, ARGV[4], member, ARGV[3])
return {'updated', principal}`),

    touch: script(`
${unlessHere}
if seen and tonumber(ARGV[2]) > tonumber(seen) then
  if ARGV[5] and ARGV[5] ~= principal then return {'other', principal} end
  redis.call('SET', key, principal .. ' ${RECORD_FORMAT} ' .. version .. ' ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. rest, 'PX', ARGV[4])
  index(prefix, principal, member, ARGV[4])
end
return {'updated', principal}`),

    remove: script(`
${unlessHere}
if ARGV[2] and ARGV[2] ~= principal then return {'other', principal} end
redis.call('DEL', key)
unindex(prefix, principal, member)
return {'updated', principal}`),
  };
}

export const together = {
  ...recordScripts(TOGETHER),

  /** KEYS: records. ARGV: now, then their names. Returns the number of expired ones. */
  expire: new Script(`${FUNCTIONS}${TOGETHER}
local prefix, now, count = prefixOf(KEYS[1], ARGV[2]), tonumber(ARGV[1]), 0
for n, key in ipairs(KEYS) do
  local state, principal, version, seen, expires = load(key)
  if state == 'here' and expires and tonumber(expires) <= now then
    redis.call('DEL', key)
    unindex(prefix, principal, ARGV[n + 1])
    count = count + 1
  end
end
return count`),

  /** KEYS: index. ARGV: principal. Returns names and texts alternately. */
  list: new Script(`${FUNCTIONS}
local prefix = prefixOf(KEYS[1], indexKey('', ARGV[1]))
local found = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local text = redis.call('GET', prefix .. member)
  if text then
    found[#found + 1] = member
    found[#found + 1] = text
  end
end
return found`),

  /** KEYS: index. ARGV: principal, name of the record to spare. Returns the names of the ended ones. */
  revoke: new Script(`${FUNCTIONS}
local prefix = prefixOf(KEYS[1], indexKey('', ARGV[1]))
local ended = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if member ~= ARGV[2] then
    if redis.call('DEL', prefix .. member) == 1 then ended[#ended + 1] = member end
    redis.call('ZREM', KEYS[1], member)
  end
end
return ended`),
};

export const apart = {
  ...recordScripts(APART),

  /** KEYS: record. ARGV: name, now. */
  expire: new Script(`${FUNCTIONS}
local state, principal, version, seen, expires = load(KEYS[1])
if state ~= 'here' then return {state, principal} end
if not expires or tonumber(expires) > tonumber(ARGV[2]) then return {'here'} end
redis.call('DEL', KEYS[1])
return {'updated', principal}`),

  /** KEYS: index. ARGV: name, ttl. */
  index: new Script(`${FUNCTIONS}
addToIndex(KEYS[1], ARGV[1], ARGV[2])
return 1`),

  /** KEYS: index. ARGV: names. */
  unindex: new Script(`
for _, member in ipairs(ARGV) do redis.call('ZREM', KEYS[1], member) end
return 1`),

  /** KEYS: index. Returns the names. */
  names: new Script(`return redis.call('ZRANGE', KEYS[1], 0, -1)`),
};
