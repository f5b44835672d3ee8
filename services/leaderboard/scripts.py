"""What is done to boards inside of Redis: each script one step that nothing comes between.

They are sent whole every time. The server knows a text that it has seen, and so nobody has to
find out first whether it forgot what was loaded.
"""

_IS_LOST = """
local function sizes()
    return redis.call('ZCARD', KEYS[2]) .. ' ' .. redis.call('HLEN', KEYS[3])
end
local function is_lost()
    return sizes() ~= (redis.call('HGET', KEYS[1], KEYS[2]) or '0 0')
end
"""
"""KEYS: what the boards are (BOARDS_KEY), a board's set and its versions: so in all scripts that
look at a board. A board of which nothing is said is new, and empty; when its set or its versions
were deleted or evicted, they are not as large as is said."""

APPLY = (
    _IS_LOST
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
if is_lost() then
    redis.call('DEL', KEYS[1])
    return 0
end
local changed, lifetime = 0, tonumber(ARGV[1])
for user, version, score, member in string.gmatch(ARGV[2], '(%d+) (%d+) (%-?%d+) (%S*)\\n') do
    local held, held_version, held_member = redis.call('HGET', KEYS[3], user), -1, ''
    if held then
        local bar = string.find(held, '|', 1, true)
        held_version = tonumber(string.sub(held, 1, bar - 1))
        held_member = string.sub(held, bar + 1)
    end
    if tonumber(version) > held_version then
        if held_member ~= '' and held_member ~= member then
            redis.call('ZREM', KEYS[2], held_member)
        end
        if member ~= '' then
            redis.call('ZADD', KEYS[2], score, member)
        end
        redis.call('HSET', KEYS[3], user, version .. '|' .. member)
        changed = changed + 1
    end
end
if changed > 0 then
    redis.call('HSET', KEYS[1], KEYS[2], sizes())
    if lifetime > 0 then
        redis.call('EXPIRE', KEYS[2], lifetime)
        redis.call('EXPIRE', KEYS[3], lifetime)
    end
end
return changed
"""
)
"""ARGV: how long the board lives in seconds (0: for ever), then lines of user, version, score and
member (none: not ranked); as one text, for thousands of arguments take the client longer than the
rest. What is older than what is known is passed over, so applying something twice or out of order
is harmless. Returns how many changed: none where there are no boards to change, and a board that
was lost is not begun anew with whoever moves next: then all are to be built, and it is said so."""

_WHERE_WHOLE = (
    _IS_LOST
    + """
local server = redis.call('INFO', 'server')
local _, at = string.find(server, 'run_id:', 1, true)
if redis.call('HGET', KEYS[1], 'server') ~= string.sub(server, at + 1, at + 40) then
    return {false}
end
if is_lost() then
    redis.call('DEL', KEYS[1])
    return {false}
end
"""
)
"""Boards of an earlier run of the server are not whole: it may have loaded what it saved long ago.
Asking it for its run id every time costs a few microseconds, and nobody is ever told old ranks."""

IS_WHOLE = _WHERE_WHOLE + "return {1}"
"""Returns 1 for a board that counts; nothing else for one that does not."""

_WHERE_BUILT = (
    _WHERE_WHOLE
    + """
local answer = {'built', redis.call('GET', KEYS[4]), redis.call('ZCARD', KEYS[2])}
"""
)

READ_TOP = (
    _WHERE_BUILT
    + """
answer[4] = redis.call('ZRANGE', KEYS[2], 0, ARGV[1] - 1, 'WITHSCORES')
return answer
"""
)
"""KEYS: and the token of profiles (so all below). ARGV: how many. Returns that there are boards,
nothing else without them; the token, how many are ranked, and the lines."""

READ_RANKS = (
    _WHERE_BUILT
    + """
for i = 1, #ARGV do
    local place = {-1}
    local held = redis.call('HGET', KEYS[3], ARGV[i])
    local member = held and string.sub(held, string.find(held, '|', 1, true) + 1) or ''
    local rank = member ~= '' and redis.call('ZRANK', KEYS[2], member)
    if rank then
        place = {rank, redis.call('ZSCORE', KEYS[2], member)}
        if rank > 0 then
            place[3] = redis.call('ZRANGE', KEYS[2], rank - 1, rank - 1, 'WITHSCORES')[2]
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
local held = redis.call('HGET', KEYS[3], ARGV[1])
local member = held and string.sub(held, string.find(held, '|', 1, true) + 1) or ''
local rank = member ~= '' and redis.call('ZRANK', KEYS[2], member)
answer[4], answer[5] = 0, {}
if rank then
    local first = math.max(0, rank - ARGV[2])
    answer[4] = first
    answer[5] = redis.call('ZRANGE', KEYS[2], first, rank + ARGV[2], 'WITHSCORES')
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
redis.call('HSET', KEYS[2], 'builder', ARGV[1])
return 1
"""
"""KEYS: the builder's token, what the boards are, then all that is built anew. ARGV: a token, and
for how many milliseconds it holds unless it is renewed. 1, or 0 when somebody else is building."""

_WHILE_BUILDING = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('HGET', KEYS[2], 'builder') ~= ARGV[1] then
    return 0
end
"""
"""KEYS: the builder's token, what the boards are. ARGV: the token. Returns 0 when either is gone:
what was built may be gone with it."""

GO_ON_BUILDING = (
    _WHILE_BUILDING
    + """
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
)
"""ARGV: for how many milliseconds the token holds from now on."""

LEAVE_BUILDING = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
"""
"""KEYS: the builder's token. ARGV: the token of whoever leaves, finished or not."""

FINISH_BUILDING = (
    _WHILE_BUILDING
    + """
redis.call('HSET', KEYS[2], 'server', ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('DEL', KEYS[1])
return 1
"""
)
"""KEYS: and the token of profiles. ARGV: and the server's run id, and a token of profiles."""
