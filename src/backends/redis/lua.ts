import { RECORD_FORMAT } from '../record-text.js';
import { FENCES } from './layout.js';

/**
 * The number of sessions that one script ends or returns at most: some milliseconds of the server's time, in which it serves
 * nobody else.
 */
export const BATCH = 500;

/**
 * Functions of the scripts. Each script derives all key names from its first key and the record's name in it, so that a
 * prefix that the client itself adds stays in place.
 */
export const FUNCTIONS = `
local SLACK = 1000

local function prefixOf(key, ending) return string.sub(key, 1, #key - #ending) end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function indexKey(prefix, principal) return prefix .. '{p:' .. principal .. '}' end

-- The state of a record, 'gone' or 'here', and its parts. What is no record of this format has no parts.
local function load(key)
  local text = redis.call('GET', key)
  if not text or text == '${FENCES.ended}' or text == '${FENCES.late}' then return 'gone' end
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
