import { BATCH, FUNCTIONS } from './lua.js';
import { FENCES } from './layout.js';
import { Script } from './script.js';
import { MADE_BEFORE, recordScripts } from './scripts.js';

/** In a cluster, the index may be on another server. */
const APART = `
local function index() end
local function keepIndexed() end
local function unindex() end
`;

/**
 * The milliseconds for which the places of log-ins are remembered, and fences stand. A record that is written later than that
 * may be left out of its index.
 */
const REMEMBERED = 3_600_000;

/** The milliseconds for which a fence stands that no log-in needs any more. */
const BRIEF = 60_000;

const INDEXES = `
local function expiriesOf(index) return index .. 'x' end
local function placesOf(index) return index .. 'p' end
local function leavingOf(index) return index .. 'l' end
local function forget(index, name)
  for _, key in ipairs({index, expiriesOf(index), placesOf(index), leavingOf(index)}) do redis.call('ZREM', key, name) end
end
local function forgetExpired(index, at)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', expiriesOf(index), '-inf', at, 'LIMIT', 0, ${BATCH})) do forget(index, name) end
end
local function add(index, member, ttl, created, at)
  local expiries = expiriesOf(index)
  redis.call('ZADD', index, created, member)
  local death = redis.call('ZSCORE', expiries, member)
  if not death or tonumber(death) < at + ttl + SLACK then redis.call('ZADD', expiries, at + ttl + SLACK, member) end
  prolong(index, ttl)
  prolong(expiries, ttl)
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
  index: new Script(`${FUNCTIONS}${INDEXES}
local at = now()
forgetExpired(KEYS[1], at)
add(KEYS[1], ARGV[1], ARGV[2], ARGV[3], at)
return 1`),

  /**
   * KEYS: index. ARGV: name, ttl, time of the log-in, milliseconds for which the place is kept, and optionally a limit: the most
   * sessions; the number that count, beyond which it does not matter how many do; the most that end, 0 to refuse; and after a
   * look {@link Found} as JSON. Takes a place for a log-in, whose record is written afterwards.
   *
   * Returns three lists:
   * - `placed`: the log-in has its place. The names of the sessions that have to be ended before its record is written: of those
   *   whose records have been there, and of those whose log-ins may be under way.
   * - `look` and the server's time: there may be no room. The names to look at, and for each how it stands: `taken` is the place of
   *   a log-in that may be under way, `lapsed` one that has taken too long, '' is neither.
   */
  place: new Script(`${FUNCTIONS}${INDEXES}
local index, member, hold, most = KEYS[1], ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local places, leaving, at = placesOf(index), leavingOf(index), now()
forgetExpired(index, at)
redis.call('ZREMRANGEBYSCORE', places, '-inf', at - ${REMEMBERED})
redis.call('ZREMRANGEBYSCORE', leaving, '-inf', at)

local found = ARGV[8] and cjson.decode(ARGV[8])
if found then for _, name in ipairs(found.gone) do forget(index, name) end end

-- Chooses those that have to go. Returns the names of what has to be looked at first, or nil.
local written, unwritten = {}, {}
local function choose()
  local enough, mostEnded = tonumber(ARGV[6]), tonumber(ARGV[7])
  local isOther, isHeld, seen = {}, {}, {}
  if found then
    for _, name in ipairs(found.others) do isOther[name] = true end
  end
  -- Who refuses looks at all of them together.
  if found and mostEnded > 0 then
    for _, name in ipairs(found.held) do isHeld[name] = true end
    for n, name in ipairs(found.alive) do seen[name] = found.seen[n] end
  end
  local counted, unknown, states, rank = {}, {}, {}, 0
  local function note(name, created)
    local place = tonumber(redis.call('ZSCORE', places, name) or nil)
    local isTaken = place and place > at
    if seen[name] then
      counted[#counted + 1] = {name = name, seen = seen[name], rank = rank}
    elseif isTaken and found and mostEnded > 0 and (isHeld[name] or place - hold > found.since) then
      counted[#counted + 1] = {name = name, seen = created, rank = rank, isUnwritten = true}
    else
      unknown[#unknown + 1] = name
      states[#states + 1] = isTaken and 'taken' or place and 'lapsed' or ''
    end
  end
  local page
  repeat
    page = redis.call('ZREVRANGE', index, rank, rank + ${BATCH} - 1, 'WITHSCORES')
    for n = 1, #page, 2 do
      rank = rank + 1
      local name = page[n]
      local isNoted = name == member or isOther[name] or redis.call('ZSCORE', leaving, name)
      if not isNoted and #counted < enough and #unknown < math.max(enough, ${BATCH}) then note(name, tonumber(page[n + 1])) end
    end
  until #page < 2 * ${BATCH} or #counted >= enough or #unknown >= math.max(enough, ${BATCH})

  local surplus = #counted + #unknown + 1 - most
  if surplus <= 0 then return nil end
  if #unknown > 0 or mostEnded == 0 then return unknown, states end
  table.sort(counted, function(a, b)
    if a.seen ~= b.seen then return a.seen < b.seen end
    return a.rank > b.rank
  end)
  local before = redis.call('ZRANGE', leaving, 0, -1)
  for n = 1, math.min(surplus, mostEnded) do
    local name = counted[n].name
    redis.call('ZADD', leaving, at + hold, name)
    if counted[n].isUnwritten then
      unwritten[#unwritten + 1] = name
    else
      redis.call('ZREM', places, name)
      written[#written + 1] = name
    end
  end
  -- A log-in that has not written its record may not have ended those either whose place it took.
  if #unwritten > 0 then
    for _, name in ipairs(before) do
      local list = redis.call('ZSCORE', places, name) and unwritten or written
      list[#list + 1] = name
    end
  end
  return nil
end

if most and redis.call('ZCARD', index) >= most then
  local unknown, states = choose()
  if unknown then return {{'look', tostring(at)}, unknown, states} end
end
local ttl = tonumber(ARGV[2])
add(index, member, ttl, ARGV[3], at)
redis.call('ZADD', places, at + hold, member)
redis.call('PEXPIRE', places, hold + ${REMEMBERED})
if #written + #unwritten > 0 then redis.call('PEXPIRE', leaving, hold + ${REMEMBERED}) end
return {{'placed'}, written, unwritten}`),

  /**
   * KEYS: record. ARGV: name, text, ttl. Writes the record of a log-in that has a place. `gone`: it is written. `here`: the id was
   * taken. Otherwise a fence lies there.
   */
  write: new Script(`${FUNCTIONS}
local text = redis.call('GET', KEYS[1])
if text == '${FENCES.ended}' or text == '${FENCES.late}' then
  redis.call('PEXPIRE', KEYS[1], ${BRIEF})
  return {text}
end
if text then return {'here'} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'gone'}`),

  /**
   * KEYS: record. ARGV: name, principal. Ends a session whose log-in may not have written it yet. `gone`: there was none, or its
   * log-in will find the fence. The fence stays where there was one, for others who would end the same.
   */
  evict: new Script(`${FUNCTIONS}
local state, principal = load(KEYS[1])
if state == 'here' and principal ~= ARGV[2] then return {'other', principal} end
if state == 'here' then
  redis.call('SET', KEYS[1], '${FENCES.ended}', 'PX', ${BRIEF})
  return {'updated', principal}
end
redis.call('SET', KEYS[1], '${FENCES.ended}', 'PX', ${REMEMBERED}, 'NX')
return {'gone'}`),

  /** KEYS: index. ARGV: name. Notes that the record of that name has been written, whoever it belongs to now. */
  written: new Script(`${FUNCTIONS}${INDEXES}
return redis.call('ZREM', placesOf(KEYS[1]), ARGV[1])`),

  /** KEYS: record. ARGV: name. Keeps a log-in that took too long from writing its record. `here`: it has written it. */
  fence: new Script(`${FUNCTIONS}
local state = load(KEYS[1])
if state == 'gone' then redis.call('SET', KEYS[1], '${FENCES.late}', 'PX', ${REMEMBERED}, 'NX') end
return {state}`),

  /** KEYS: index. ARGV: names. */
  unindex: new Script(`${FUNCTIONS}${INDEXES}
for _, member in ipairs(ARGV) do forget(KEYS[1], member) end
return 1`),

  /** KEYS: index. ARGV: limit. Returns the names, and the number of log-ins that may be under way. */
  names: new Script(`${FUNCTIONS}${INDEXES}
return {namesOf(KEYS[1], tonumber(ARGV[1])), redis.call('ZCOUNT', placesOf(KEYS[1]), '(' .. now(), '+inf')}`),

  /**
   * KEYS: index. ARGV: nonce, name of the record to spare. The instant of a revocation. Returns the names to end, if they are
   * few, and the nonces of what is to be ended besides. A log-in that may be under way keeps its place.
   */
  revoke: new Script(`${FUNCTIONS}${INDEXES}
local index = KEYS[1]
local names = {}
if redis.call('ZCARD', index) > ${BATCH} then
  doom(index, ARGV[1], ARGV[2])
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', placesOf(index), '(' .. now(), '+inf')) do
    local created = redis.call('ZSCORE', remainder(index, ARGV[1]), name)
    if created then redis.call('ZADD', index, created, name) end
  end
  prolong(index, redis.call('PTTL', expiriesOf(index)))
else names = redis.call('ZRANGE', index, 0, -1) end
return {names, redis.call('SMEMBERS', remainsOf(index))}`),

  /**
   * KEYS: index. ARGV: nonce, number of ended records, names: those of ended records first. Returns the next names to end.
   * A name whose record was not there belongs to a log-in that has not written it yet, or to a session that is on its way from
   * another principal: it counts as later, and goes back to the index. That of a session that was ended has no expiry any more.
   */
  goOn: new Script(`${FUNCTIONS}${INDEXES}
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
