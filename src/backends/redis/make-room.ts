import { RECORD_FORMAT } from '../record-text.js';
import { BATCH } from './lua.js';

/** The bytes of a record's text that have its principal, version and times. */
const HEAD = 200;

/**
 * Decides on a limit of sessions where records and index are on one server, as `decide` of `core/limit.ts` does. An index with
 * fewer names than that decides nothing, whatever they name.
 *
 * ARGV from 6 on: the limit; the number of sessions that count, beyond which it does not matter how many do; the most that end, 0
 * to refuse; the instants of its `livesAfter`: `expiresAt`, `createdAt`, `lastSeenAt`; the names that do not count.
 *
 * Returns a list:
 * - `gone`, and the names of the records that were ended: there is room.
 * - `full`.
 * - `more`, and names that do not count either: it looked at so many of sessions that do not count that it has to be run again,
 *   with these names among its arguments. It has removed those from the index whose records are gone.
 *
 * Sessions that were seen at the same time go in the order of their log-ins, and of their names where those are equal, too: that
 * is the order of the index.
 */
export const MAKE_ROOM = `
local function makeRoom(prefix, index)
  local most = tonumber(ARGV[6])
  if not most or redis.call('ZCARD', index) < most then return {'gone'} end
  local enough, mostEnded, expiresAfter, seenAfter = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[11])
  local isOther = {}
  for n = 12, #ARGV do isOther[ARGV[n]] = true end

  local counted, others, gone, at = {}, {}, {}, 0
  local function hasMore() return #counted < enough and #others + #gone < ${BATCH} end
  local function look(name)
    local head = redis.pcall('GETRANGE', prefix .. name, 0, ${HEAD})
    if head == '' then gone[#gone + 1] = name return end
    local seen, expires
    if type(head) == 'string' then seen, expires = string.match(head, '^%S+ ${RECORD_FORMAT} %S+ (%S+) (%S+) ') end
    seen, expires = tonumber(seen or ''), tonumber(expires or '')
    if seen and expires and seen > seenAfter and expires > expiresAfter then
      counted[#counted + 1] = {name = name, seen = seen, at = at}
    else
      others[#others + 1] = name
    end
  end
  local names
  repeat
    names = redis.call('ZREVRANGEBYSCORE', index, '+inf', '(' .. ARGV[10], 'LIMIT', at, ${BATCH})
    for _, name in ipairs(names) do
      at = at + 1
      if not isOther[name] and hasMore() then look(name) end
    end
  until #names < ${BATCH} or not hasMore()
  if #gone > 0 then redis.call('ZREM', index, unpack(gone)) end
  if #counted < enough and not hasMore() then return {'more', unpack(others)} end

  local surplus = #counted + 1 - most
  if surplus <= 0 then return {'gone'} end
  if mostEnded == 0 then return {'full'} end
  table.sort(counted, function(a, b)
    if a.seen ~= b.seen then return a.seen < b.seen end
    return a.at > b.at
  end)
  local outcome = {'gone'}
  for n = 1, math.min(surplus, mostEnded) do
    local name = counted[n].name
    redis.call('DEL', prefix .. name)
    redis.call('ZREM', index, name)
    outcome[n + 1] = name
  end
  return outcome
end
`;
