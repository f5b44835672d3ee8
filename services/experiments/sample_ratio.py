"""Whether users are split as the weights say: a broken split makes every other figure worthless.

Pure. What it means to an operator: `docs/experiments.md`; why so: `docs/decisions/0025`.
"""

from collections.abc import Sequence
from operator import itemgetter

from scipy.special import bdtr, bdtrc, chdtrc

RATIO_ALPHA = 0.001
"""A split that is off by chance less often than this is off for a reason."""
SMALLEST_EXPECTED = 5
"""Below so many expected users in a variant, chi-square says too much (Cochran's rule)."""

_Cell = tuple[int, int]  # buckets due, users seen


def sample_ratio_p_value(users: Sequence[int], shares: Sequence[int]) -> float | None:
    """How likely a split at least so far off is by chance; None without a split.

    Chi-square (`domain.md`), variants that expect fewer than five users taken together. Where even
    these expect too few: the exact test of how many they have, beside chi-square of the others.
    """
    count, whole = sum(users), sum(shares)
    if count == 0 or len(users) < 2:  # noqa: PLR2004
        return None
    # By the shares alone: which variants are taken together must not depend on what was seen.
    cells = sorted(zip(shares, users, strict=True), key=itemgetter(0), reverse=True)
    common = [cell for cell in cells if _is_enough(cell, count, whole)] or cells[:1]
    rare = cells[len(common) :]
    if not rare:
        return _chi_square(common)
    together = (sum(share for share, _ in rare), sum(seen for _, seen in rare))
    if all(_is_enough(cell, count, whole) for cell in (common[0], together)):
        return _chi_square([*common, together])
    exact = _exact(together[1], count, together[0] / whole)
    if len(common) < 2:  # noqa: PLR2004
        return exact
    # Two chances to be off by chance (Bonferroni).
    return min(2 * min(exact, _chi_square(common)), 1.0)


def is_sample_ratio_off(users: Sequence[int], shares: Sequence[int]) -> bool:
    """Whether something but chance splits the users."""
    p_value = sample_ratio_p_value(users, shares)
    return p_value is not None and p_value < RATIO_ALPHA


def _is_enough(cell: _Cell, count: int, whole: int) -> bool:
    return cell[0] * count >= SMALLEST_EXPECTED * whole


def _chi_square(cells: Sequence[_Cell]) -> float:
    """Of the users of these cells alone; 1 where there are none of them."""
    whole, count = (sum(each) for each in zip(*cells, strict=True))
    if count == 0:
        return 1.0
    expected = [count * share / whole for share, _ in cells]
    squares = ((seen - due) ** 2 / due for (_, seen), due in zip(cells, expected, strict=True))
    return float(chdtrc(len(cells) - 1, sum(squares)))


def _exact(seen: int, count: int, share: float) -> float:
    """Of so many among `count` users, each there with that chance: twice the smaller tail."""
    at_most = float(bdtr(seen, count, share))
    at_least = float(bdtrc(seen - 1, count, share)) if seen > 0 else 1.0
    return min(2 * min(at_most, at_least), 1.0)
