"""Who earned most: boards in Redis, computed from PostgreSQL, which answers when they are gone."""
