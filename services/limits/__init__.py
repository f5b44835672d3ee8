"""How often anybody may ask: token buckets in Redis, shared by all processes."""
