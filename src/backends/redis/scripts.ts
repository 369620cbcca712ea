import { RECORD_FORMAT } from '../record-text.js';
import { BATCH, FUNCTIONS } from './lua.js';
import { MAKE_ROOM } from './make-room.js';
import { Script } from './script.js';

/** The number of names that a log-in checks in its user's index, as not more than one is added. */
const CHECKED = 4;

/** A script and not TIME itself, because all kinds of clients run scripts, and on a master. */
export const clock = new Script(`
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
`);

/** KEYS: records. Returns for each its bytes and the first line of its text, without data; '' for one that is gone. */
export const headTexts = new Script(`
local heads = {}
for n, key in ipairs(KEYS) do
  local text = redis.pcall('GET', key)
  heads[n] = type(text) == 'string' and #text .. ' ' .. (string.match(text, '^[^\\n]*') or '') .. '\\n' or ''
end
return heads
`);

export const MADE_BEFORE = `
-- The principal of a record that was made before an instant. The time follows the JSON of the principal, which may be no text
-- that a parser here accepts. A record of a later format counts as made before, because its time cannot be read.
local function ownerIfMadeBefore(key, before)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'string' then return nil end
  local principal, format, list = string.match(text, '^(%S+) (s%d+) (.*)$')
  if format ~= '${RECORD_FORMAT}' then return principal end
  local at = select(2, string.find(list, '^%S+ %S+ %S+ %['))
  if not at then return nil end
  at = at + 1
  if string.sub(list, at, at) == '"' then
    repeat
      at = string.find(list, '["\\\\]', at + 1)
      local isEscape = at and string.sub(list, at, at) == '\\\\'
      if isEscape then at = at + 1 end
    until not isEscape
  end
  local made = at and tonumber(string.match(list, '^[^,]*,([^,]+),', at))
  if made and made < before then return principal end
end
`;

/** With one server, a record and its index change in one step. */
const TOGETHER = `
-- Drops names of records that Redis has forgotten: some at each log-in, at a place that the clock chooses, so that there are
-- never many among them.
local function dropForgotten(prefix, key)
  local from = math.max(redis.call('ZCARD', key) - ${CHECKED}, 0)
  if from > 0 then from = tonumber(redis.call('TIME')[2]) % (from + 1) end
  for _, name in ipairs(redis.call('ZRANGE', key, from, from + ${CHECKED} - 1)) do
    if redis.call('EXISTS', prefix .. name) == 0 then redis.call('ZREM', key, name) end
  end
end
local function index(prefix, principal, member, ttl, created)
  if principal == '-' then return end
  local key = indexKey(prefix, principal)
  if redis.call('ZADD', key, created, member) == 1 then dropForgotten(prefix, key) end
  prolong(key, ttl)
end
-- A name is missing only where a revocation that never finished has it.
local function keepIndexed(prefix, principal, member, ttl, rest)
  if principal == '-' then return end
  local key = indexKey(prefix, principal)
  if not redis.call('ZSCORE', key, member) then
    local parsed, fields = pcall(cjson.decode, string.match(rest, '^[^%c]*'))
    redis.call('ZADD', key, parsed and tonumber(fields[2]) or 0, member)
  end
  prolong(key, ttl)
end
local function unindex(prefix, principal, member)
  if principal and principal ~= '-' then redis.call('ZREM', indexKey(prefix, principal), member) end
end
`;

/**
 * Scripts that change a record. KEYS[1] is the record, ARGV[1] its name after the prefix; the result is {state, principal}.
 */
export interface RecordScripts {
  /** ARGV: name, text, ttl, principal, time of the log-in, expected version. */
  update: Script;
  /** ARGV: name, last seen, expiry, ttl, and optionally the required principal. `other`: the record has another one. */
  touch: Script;
  /** ARGV: name, and optionally the required principal. `other`: the record has another one. */
  remove: Script;
}

/** Returns a script that begins by loading its record. */
function recordScript(indexing: string, body: string): Script {
  return new Script(`${FUNCTIONS}${indexing}
local key, member = KEYS[1], ARGV[1]
local prefix = prefixOf(key, member)
local state, principal, version, seen, expires, rest = load(key)
${body}`);
}

/** @param indexing the functions `index`, `keepIndexed` and `unindex` */
export function recordScripts(indexing: string): RecordScripts {
  const script = (body: string): Script => recordScript(indexing, body);
  const unlessHere = `if state ~= 'here' then return {state, principal} end`;

  return {
    update: script(`
${unlessHere}
if version ~= ARGV[6] then return {'conflict'} end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
if principal ~= ARGV[4] then unindex(prefix, principal, member) end
index(prefix, ARGV[4], member, ARGV[3], ARGV[5])
return {'updated', principal}`),

    touch: script(`
${unlessHere}
if seen and tonumber(ARGV[2]) > tonumber(seen) then
  if ARGV[5] and ARGV[5] ~= principal then return {'other', principal} end
  redis.call('SET', key, principal .. ' ${RECORD_FORMAT} ' .. version .. ' ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. rest, 'PX', ARGV[4])
  keepIndexed(prefix, principal, member, ARGV[4], rest)
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

const ENDING = `
-- Removes records that still are the principal's, and returns their names.
local function endRecords(prefix, principal, names)
  local ended = {}
  for _, name in ipairs(names) do
    if redis.pcall('GETRANGE', prefix .. name, 0, #principal) == principal .. ' ' then
      redis.call('DEL', prefix .. name)
      ended[#ended + 1] = name
    end
  end
  return ended
end
`;

export const together = {
  ...recordScripts(TOGETHER),

  /**
   * KEYS: record. ARGV: name, text, ttl, principal, time of the log-in, and optionally what {@link MAKE_ROOM} takes. Returns what
   * that returns, or `here`: the id was taken.
   */
  create: recordScript(
    TOGETHER + MAKE_ROOM,
    `
if state ~= 'gone' then return {'here'} end
local outcome = makeRoom(prefix, indexKey(prefix, ARGV[4]))
if outcome[1] ~= 'gone' then return outcome end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
index(prefix, ARGV[4], member, ARGV[3], ARGV[5])
return outcome`,
  ),

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

  /** KEYS: what only a primary may remove, then records. ARGV: instant, then their names. Returns the names of the ended ones. */
  endMadeBefore: new Script(`${FUNCTIONS}${TOGETHER}${MADE_BEFORE}
redis.call('DEL', KEYS[1])
local before, ended = tonumber(ARGV[1]), {}
for n = 2, #KEYS do
  local key, member = KEYS[n], ARGV[n]
  local principal = ownerIfMadeBefore(key, before)
  if principal then
    redis.call('DEL', key)
    unindex(prefixOf(key, member), principal, member)
    ended[#ended + 1] = member
  end
end
return ended`),

  /** KEYS: index. ARGV: principal, limit. Returns names, and the texts of the first of them. */
  list: new Script(`${FUNCTIONS}
local prefix = prefixOf(KEYS[1], indexKey('', ARGV[1]))
local names, texts = namesOf(KEYS[1], tonumber(ARGV[2])), {}
for n = 1, math.min(#names, 2 * ${BATCH}) do texts[n] = redis.call('GET', prefix .. names[n]) end
return {names, texts}`),

  /**
   * KEYS: index. ARGV: principal, nonce, name of the record to spare. Returns the names of the ended ones, and the nonces of
   * what remains to be ended.
   */
  revoke: new Script(`${FUNCTIONS}${ENDING}
local index = KEYS[1]
local prefix = prefixOf(index, indexKey('', ARGV[1]))
local ended = {}
if redis.call('ZCARD', index) > ${BATCH} then
  doom(index, ARGV[2], ARGV[3])
else
  local names = {}
  for _, name in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if name ~= ARGV[3] then names[#names + 1] = name end
  end
  ended = endRecords(prefix, ARGV[1], names)
  if #names > 0 then redis.call('ZREM', index, unpack(names)) end
end
return {ended, redis.call('SMEMBERS', remainsOf(index))}`),

  /** KEYS: index. ARGV: principal, nonce. Ends some of what remains. Returns the names, and how many more there are. */
  goOn: new Script(`${FUNCTIONS}${ENDING}
local index = KEYS[1]
local doomed = remainder(index, ARGV[2])
local names = redis.call('ZRANGE', doomed, 0, ${BATCH} - 1)
local ended = endRecords(prefixOf(index, indexKey('', ARGV[1])), ARGV[1], names)
if #names > 0 then
  redis.call('ZREMRANGEBYRANK', doomed, 0, ${BATCH} - 1)
  -- One that was touched meanwhile is named there again.
  if #ended > 0 then redis.call('ZREM', index, unpack(ended)) end
end
local left = redis.call('ZCARD', doomed)
if left == 0 then redis.call('SREM', remainsOf(index), ARGV[2]) end
return {ended, left}`),
};

/** Writes a key, whose change is reported to those who watch. Returns its name as the server sees it. */
export const probe = new Script(`
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return KEYS[1]`);
