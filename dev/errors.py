"""The root of what can go wrong in starting and keeping the embedded servers and commands."""


class DevError(Exception):
    """A checkout cannot run by itself; the message says why in words for whoever started it."""
