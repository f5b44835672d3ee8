"""What is done to boards inside of Redis: each script one step that nothing comes between.

They are sent whole every time. The server knows a text that it has seen, and so nobody has to
find out first whether it forgot what was loaded.
"""

APPLY = """
local changed, lifetime = 0, tonumber(ARGV[1])
for user, version, score, member in string.gmatch(ARGV[2], '(%d+) (%d+) (%-?%d+) (%S*)\\n') do
    local held, held_version, held_member = redis.call('HGET', KEYS[2], user), -1, ''
    if held then
        local bar = string.find(held, '|', 1, true)
        held_version = tonumber(string.sub(held, 1, bar - 1))
        held_member = string.sub(held, bar + 1)
    end
    if tonumber(version) > held_version then
        if held_member ~= '' and held_member ~= member then
            redis.call('ZREM', KEYS[1], held_member)
        end
        if member ~= '' then
            redis.call('ZADD', KEYS[1], score, member)
        end
        redis.call('HSET', KEYS[2], user, version .. '|' .. member)
        changed = changed + 1
    end
end
if changed > 0 and lifetime > 0 then
    redis.call('EXPIRE', KEYS[1], lifetime)
    redis.call('EXPIRE', KEYS[2], lifetime)
end
return changed
"""
"""KEYS: a board's set and its versions. ARGV: how long they live in seconds (0: for ever), then
lines of user, version, score and member (none: not ranked); as one text, for thousands of arguments
take the client longer than the rest. What is older than what is known is passed over, so applying
something twice or out of order is harmless. Returns how many changed."""

_WHERE_BUILT = """
if not redis.call('GET', KEYS[1]) then
    return {false}
end
local answer = {'built', redis.call('GET', KEYS[2]), redis.call('ZCARD', KEYS[3])}
"""

READ_TOP = (
    _WHERE_BUILT
    + """
answer[4] = redis.call('ZRANGE', KEYS[3], 0, ARGV[1] - 1, 'WITHSCORES')
return answer
"""
)
"""KEYS: the marker, the token of profiles, a board's set and its versions (so all below). ARGV: how
many. Returns the marker, nothing else without it; the token, how many are ranked, and the lines."""

READ_RANKS = (
    _WHERE_BUILT
    + """
for i = 1, #ARGV do
    local place = {-1}
    local held = redis.call('HGET', KEYS[4], ARGV[i])
    local member = held and string.sub(held, string.find(held, '|', 1, true) + 1) or ''
    local rank = member ~= '' and redis.call('ZRANK', KEYS[3], member)
    if rank then
        place = {rank, redis.call('ZSCORE', KEYS[3], member)}
        if rank > 0 then
            place[3] = redis.call('ZRANGE', KEYS[3], rank - 1, rank - 1, 'WITHSCORES')[2]
        end
    end
    answer[i + 3] = place
end
return answer
"""
)
"""ARGV: users. Returns for each their rank from 0 (-1: not ranked), score, and the score above."""

READ_AROUND = (
    _WHERE_BUILT
    + """
local held = redis.call('HGET', KEYS[4], ARGV[1])
local member = held and string.sub(held, string.find(held, '|', 1, true) + 1) or ''
local rank = member ~= '' and redis.call('ZRANK', KEYS[3], member)
answer[4], answer[5] = 0, {}
if rank then
    local first = math.max(0, rank - ARGV[2])
    answer[4] = first
    answer[5] = redis.call('ZRANGE', KEYS[3], first, rank + ARGV[2], 'WITHSCORES')
end
return answer
"""
)
"""ARGV: a user, how many on either side. Returns the rank from 0 of the first line, and lines."""

BEGIN_BUILDING = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return 0
end
redis.call('UNLINK', unpack(KEYS, 2))
return 1
"""
"""KEYS: the builder's token, then all that is built anew. ARGV: a token, and for how many
milliseconds it holds unless it is renewed. 1, or 0 when somebody else is building."""

GO_ON_BUILDING = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
"""KEYS: the builder's token. ARGV: as above. 0 when it is no longer there: what was built may be
gone with it."""

LEAVE_BUILDING = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
"""
"""KEYS: the builder's token. ARGV: the token of whoever leaves, finished or not."""

FINISH_BUILDING = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[1])
return 1
"""
"""KEYS: the builder's token, the marker, the token of profiles. ARGV: what each has to be."""
