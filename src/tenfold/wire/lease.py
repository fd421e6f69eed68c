"""What control planes and the voters of their lease agree on: one key, one script. A change of either is a new version of the wire.

A voter is a small Valkey. It gives its vote to one holder at a time, for `TTL_S` counted on its own clock from when it was asked. What must
outlast the voter lies on its disk before it answers: the highest epoch it ever voted for, and whom it voted for. How long a vote
lasts is kept in memory alone, so that a renewal costs no write: a voter that was restarted lets nobody but the holder it
remembers renew until a whole `TTL_S` has passed, since it can't know how long it had promised. One that remembers nothing at all may
have lost its data, and waits as long.
"""

VERSION = 1

KEY = "tenfold:lease:1"
"""A hash on the voter's disk: `epoch`, the highest it voted for, and `holder`, who has that epoch (empty: let go)."""
AWAKE = "tenfold:awake:1"
"""A hash in the voter's memory alone, in milliseconds of its clock: `born`, when it was first asked since it started, `until`, when the
vote it gave ends."""

ENTRY = "entry"
"""The place of the voter that stands in no region but beside the global entry."""

TTL_S = 3.0
"""How long a vote lasts: the longest time for which nobody leads after a leader's end."""

ASK = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local holder, epoch, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

redis.set_repl(redis.REPL_NONE)
local function remember(name, at) redis.call('HSET', KEYS[2], name, string.format('%.0f', at)) end
local awake = redis.call('HMGET', KEYS[2], 'born', 'until')
local born, ends = tonumber(awake[1] or nil), tonumber(awake[2] or nil)
-- A clock that was set back makes no promise longer than it was.
if not born or born > now then born = now; remember('born', born) end
if ends and ends > now + ttl then ends = now + ttl; remember('until', ends) end

local kept = redis.call('HMGET', KEYS[1], 'epoch', 'holder')
local last, owner = tonumber(kept[1] or nil), kept[2] or ''
local left = 0
if not last or owner ~= '' then left = math.max(0, (ends or born + ttl) - now) end

if epoch == last and owner == holder and holder ~= '' then
    remember('until', now + ttl)
    return {1, last, owner, ttl}
end
if epoch > (last or 0) and left == 0 then
    remember('until', now + ttl)
    redis.set_repl(redis.REPL_ALL)
    redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch), 'holder', holder)
    return {2, epoch, holder, ttl}
end
return {0, last or 0, owner, left}
"""
"""Asks for a vote. KEYS: `KEY`, `AWAKE`. ARGV: the holder, its epoch (0: only look), the lease's length in milliseconds.

Answers {vote, epoch, holder, milliseconds until anybody may have it}: vote 1 is a renewal of what the voter remembers, 2 a vote for a new
epoch, 0 none.
"""

LET_GO = """
local kept = redis.call('HMGET', KEYS[1], 'epoch', 'holder')
if tonumber(kept[1] or nil) ~= tonumber(ARGV[2]) or kept[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'holder', '')
return 1
"""
"""Gives a vote back at once. KEYS: `KEY`. ARGV: the holder, its epoch."""

FOUND = """
return redis.call('HSETNX', KEYS[1], 'epoch', '0')
"""
"""Tells a voter that is known to be new, rather than robbed of its data, that it may vote at once. KEYS: `KEY`."""
