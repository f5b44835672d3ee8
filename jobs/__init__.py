"""ACTORS and SCHEDULE: what happens after a request or without one, each a shell of a few lines."""
