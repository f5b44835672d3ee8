"""A token bucket as one number, and taking from many of them in one step of Redis.

A bucket is kept as the instant at which it will be full again if nobody takes more. Tokens drip in
evenly, so taking some moves that instant by the time they take to drip, and a bucket holds enough
as long as it is no further away than a whole bucket takes. A bucket that is full says nothing that
an absent one does not: it expires by itself (decision 32).
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
local numbers = string.gmatch(ARGV[1], '%d+')
local refused, ask, key, count = {}, 0, 0, numbers()
while count do
    count = tonumber(count)
    local full_at, wait, short = redis.call('MGET', unpack(KEYS, key + 1, key + count)), 0, 0
    for bucket = 1, count do
        local takes, size = tonumber(numbers()), tonumber(numbers())
        local begins = math.max(tonumber(full_at[bucket] or 0), now)
        local after = math.min(begins, now + size) + math.min(takes, size)
        full_at[bucket] = after
        if after - now - size > wait then
            wait, short = after - now - size, bucket
        end
    end
    if short == 0 then
        for bucket = 1, count do
            local after = full_at[bucket]
            if after > now then
                redis.call('SET', KEYS[key + bucket], string.format('%.0f', after),
                           'PX', math.ceil((after - now) / 1000))
            end
        end
    else
        table.insert(refused, {ask, short - 1, wait})
    end
    ask, key, count = ask + 1, key + count, numbers()
end
return refused
"""
"""Every ask gets from all of its buckets or from none. Redis tells the time: the clocks of the web
machines need not agree.

KEYS: the buckets of one ask after those of another. ARGV: for each ask how many buckets it names,
and for each of them what it takes and its size, as in `take`; as one text, for many arguments take
the client longer than the rest. Returns (ask, bucket, microseconds to wait) for each ask that was
refused, by the bucket that takes longest."""
