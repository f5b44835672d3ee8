"""Telling how far a training or an evaluation is, and letting whoever is told end it."""

from collections.abc import Callable, Iterator

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much.

It is called every so often from within long computations, so that raising in it ends them.
"""


def tell_nobody(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""


def in_blocks(total: int, size: int, what: str, tell: Tell) -> Iterator[slice]:
    """The numbers below `total` in slices of `size`, telling how far it is before each."""
    for start in range(0, total, size):
        tell(what, start, total)
        yield slice(start, min(start + size, total))
    tell(what, total, total)
