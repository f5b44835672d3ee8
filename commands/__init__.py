"""Commands of `cli.py` that have more to say than a line."""
