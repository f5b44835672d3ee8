"""A token bucket as one number, and taking from many of them in one step of Redis.

A bucket is kept as the instant at which it will be full again if nobody takes more. Tokens drip in
evenly, so taking some moves that instant by the time they take to drip, and a bucket holds enough
as long as it is no further away than a whole bucket takes. A bucket that is full says nothing that
an absent one does not: it expires by itself (decision 32). Those of a holder lie together.
"""

from typing import Final


def take(full_at_us: int | None, now_us: int, takes_us: int, size_us: int) -> tuple[int, int]:
    """When the bucket is full again after this, and how long until there is enough (0: there is).

    `takes_us` is how long the tokens that are taken take to drip in, `size_us` how long a whole
    bucket does; whoever wants more than a bucket holds takes a whole one. A bucket of None is
    full. What a clock that was set back left behind counts as an empty bucket.
    """
    begins_us = max(full_at_us or 0, now_us)
    after_us = min(begins_us, now_us + size_us) + min(takes_us, size_us)
    return after_us, max(0, after_us - now_us - size_us)


TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local shapes, asks = unpack(cjson.decode(ARGV[1]))
local holders, changed, refused = redis.call('MGET', unpack(KEYS)), {}, {}
for number, ask in ipairs(asks) do
    local taken, wait, short = {}, 0, 0
    for part = 1, #ask, 2 do
        local shape, buckets = shapes[ask[part]], holders[ask[part + 1]]
        if type(buckets) ~= 'table' then
            buckets = buckets and cmsgpack.unpack(buckets) or {}
            holders[ask[part + 1]] = buckets
        end
        for place = 1, #shape, 3 do
            local size = shape[place + 2]
            local begins = math.max(buckets[shape[place]] or 0, now)
            local after = math.min(begins, now + size) + shape[place + 1]
            taken[#taken + 1] = after
            if after - now - size > wait then
                wait, short = after - now - size, #taken
            end
        end
    end
    local next = 1
    for part = 1, short == 0 and #ask or 0, 2 do
        local shape, buckets = shapes[ask[part]], holders[ask[part + 1]]
        changed[ask[part + 1]] = buckets
        for place = 1, #shape, 3 do
            buckets[shape[place]], next = taken[next], next + 1
        end
    end
    if short > 0 then
        table.insert(refused, {number - 1, short - 1, wait})
    end
end
for key, buckets in pairs(changed) do
    local last = now
    for limit, full_at in pairs(buckets) do
        last = math.max(last, full_at)
        if full_at <= now then
            buckets[limit] = nil
        end
    end
    if last > now then
        local kept = cmsgpack.pack(buckets)
        redis.call('SET', KEYS[key], kept, 'PX', math.ceil((last - now) / 1000))
    end
end
return refused
"""
"""Every ask gets from all of its buckets or from none. Redis tells the time: the clocks of the web
machines need not agree.

KEYS: the holders, each once, under which is kept when those of their buckets that are not full will
be. ARGV: shapes, each a list of (limit, what is taken, size), as in `take`, and asks, each a list
of (shape, holder); as one text, for many arguments take the client longer than the rest. Returns
(ask, bucket, microseconds to wait) for each ask that was refused, by the bucket that takes longest.
"""
