import { RECORD_FORMAT } from '../record-text.js';
import { Script } from './script.js';

/**
 * The number of sessions that one script ends or returns at most: some milliseconds of the server's time, in which it serves
 * nobody else.
 */
export const BATCH = 500;

/** The number of names that a log-in checks in its user's index, as not more than one is added. */
const CHECKED = 4;

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

-- A key never gets less time than it has, because it may name a record that lives longer.
local function prolong(key, ttl)
  if redis.call('PTTL', key) < ttl + SLACK then redis.call('PEXPIRE', key, ttl + SLACK) end
end

-- What remains of revocations that have begun: an index is renamed to one of these names, and what it names is doomed.
local function remainsOf(index) return index .. 'e' end
local function remainder(index, nonce) return index .. ':' .. nonce end

-- The instant of a revocation with many sessions: all names but one go to another key.
local function doom(index, nonce, spared)
  local doomed, remains = remainder(index, nonce), remainsOf(index)
  redis.call('RENAME', index, doomed)
  redis.call('SADD', remains, nonce)
  local ttl = redis.call('PTTL', doomed)
  prolong(remains, ttl)
  local created = spared and redis.call('ZSCORE', doomed, spared)
  if created then
    redis.call('ZREM', doomed, spared)
    redis.call('ZADD', index, created, spared)
    prolong(index, ttl)
  end
end

-- The names of an index, the latest log-in first, and of what remains of revocations.
local function namesOf(index, limit)
  local names = redis.call('ZREVRANGE', index, 0, limit - 1)
  for _, nonce in ipairs(redis.call('SMEMBERS', remainsOf(index))) do
    for _, name in ipairs(redis.call('ZREVRANGE', remainder(index, nonce), 0, limit - 1)) do names[#names + 1] = name end
  end
  return names
end
`;

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

const MADE_BEFORE = `
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

/** In a cluster, the index may be on another server. */
const APART = `
local function index() end
local function keepIndexed() end
local function unindex() end
`;

/**
 * Scripts that change a record. KEYS[1] is the record, ARGV[1] its name after the prefix; the result is {state, principal}.
 */
export interface RecordScripts {
  /** ARGV: name, text, ttl, principal, time of the log-in. `here`: the id was taken. */
  create: Script;
  /** ARGV: name, text, ttl, principal, time of the log-in, expected version. */
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
index(prefix, ARGV[4], member, ARGV[3], ARGV[5])
return {'gone'}`),

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

const EXPIRIES = `
local function expiriesOf(index) return index .. 'x' end
local function forget(index, name)
  redis.call('ZREM', index, name)
  redis.call('ZREM', expiriesOf(index), name)
end
`;

export const apart = {
  ...recordScripts(APART),

  /** KEYS: record. ARGV: name, now. */
  expire: new Script(`${FUNCTIONS}
local state, principal, version, seen, expires = load(KEYS[1])
if state ~= 'here' then return {state, principal} end
if not expires or tonumber(expires) > tonumber(ARGV[2]) then return {'here'} end
redis.call('DEL', KEYS[1])
return {'updated', principal}`),

  /** KEYS: record. ARGV: name, instant. */
  endMadeBefore: new Script(`${MADE_BEFORE}
local principal = ownerIfMadeBefore(KEYS[1], tonumber(ARGV[2]))
if not principal then return {'here'} end
redis.call('DEL', KEYS[1])
return {'updated', principal}`),

  /**
   * KEYS: index. ARGV: name, ttl, time of the log-in. The index has a second part, in which a name has the instant, by the
   * server's clock, at which its record can be forgotten: the records are on other servers.
   */
  index: new Script(`${FUNCTIONS}${EXPIRIES}
local index, expiries, member, ttl = KEYS[1], expiriesOf(KEYS[1]), ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, ${BATCH})) do forget(index, name) end
redis.call('ZADD', index, ARGV[3], member)
local death = redis.call('ZSCORE', expiries, member)
if not death or tonumber(death) < now + ttl + SLACK then redis.call('ZADD', expiries, now + ttl + SLACK, member) end
prolong(index, ttl)
prolong(expiries, ttl)
return 1`),

  /** KEYS: index. ARGV: names. */
  unindex: new Script(`${FUNCTIONS}${EXPIRIES}
for _, member in ipairs(ARGV) do forget(KEYS[1], member) end
return 1`),

  /** KEYS: index. ARGV: limit. Returns the names. */
  names: new Script(`${FUNCTIONS}
return namesOf(KEYS[1], tonumber(ARGV[1]))`),

  /**
   * KEYS: index. ARGV: nonce, name of the record to spare. The instant of a revocation. Returns the names to end, if they are
   * few, and the nonces of what is to be ended besides.
   */
  revoke: new Script(`${FUNCTIONS}
local index = KEYS[1]
local names = {}
if redis.call('ZCARD', index) > ${BATCH} then doom(index, ARGV[1], ARGV[2])
else names = redis.call('ZRANGE', index, 0, -1) end
return {names, redis.call('SMEMBERS', remainsOf(index))}`),

  /**
   * KEYS: index. ARGV: nonce, number of ended records, names: those of ended records first. Returns the next names to end.
   * A name whose record was not there belongs to a log-in that has not written it yet, or to a session that is on its way from
   * another principal: it counts as later, and goes back to the index. That of a session that was ended has no expiry any more.
   */
  goOn: new Script(`${FUNCTIONS}${EXPIRIES}
local index, nonce, ended = KEYS[1], ARGV[1], tonumber(ARGV[2])
local doomed = remainder(index, nonce)
for n = 3, #ARGV do
  local name = ARGV[n]
  local created = redis.call('ZSCORE', doomed, name)
  redis.call('ZREM', doomed, name)
  if n - 2 <= ended then forget(index, name)
  elseif created and redis.call('ZSCORE', expiriesOf(index), name) then
    redis.call('ZADD', index, 'NX', created, name)
    prolong(index, redis.call('PTTL', expiriesOf(index)))
  end
end
local names = redis.call('ZRANGE', doomed, 0, ${BATCH} - 1)
if #names == 0 then redis.call('SREM', remainsOf(index), nonce) end
return names`),
};

/** Writes a key, whose change is reported to those who watch. Returns its name as the server sees it. */
export const probe = new Script(`
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return KEYS[1]`);
