"""Among whom an item is popular: everybody of late, or members who are alike in age and gender."""

from bisect import bisect_right
from dataclasses import dataclass

from models.users import Gender


@dataclass(frozen=True, slots=True)
class Window:
    """Everybody, over the last `days`."""

    audience: str
    days: int


LAST_7_DAYS = Window("last_7_days", 7)
LAST_30_DAYS = Window("last_30_days", 30)
WINDOWS = (LAST_7_DAYS, LAST_30_DAYS)
PEER_DAYS = 180
"""How far back what peers took counts: they are few."""
FEWEST_MEMBERS = 3
"""Who took an item, of everybody, before it is called popular: one or two are a chance, and in a
small mall could be known."""

AGE_BANDS = (0, 18, 25, 35, 45, 55)
"""The youngest age of each band."""
FEWEST_PEERS = 5
"""Members of an audience who took an item before it is told of: of fewer one could be known."""

_ANY = "any"
TELLING_GENDERS = (Gender.FEMALE, Gender.MALE, Gender.OTHER)
"""Those that say something; undisclosed does not."""


def peer_audiences(gender: str | None, birth_year: int | None, year: int) -> tuple[str, ...]:
    """The audiences of a member's peers, the narrowest first; none of who said nothing.

    Members of the same gender and age band, of the gender, of the age band. An undisclosed gender
    is none. `year` is the running one.
    """
    known = gender if gender in TELLING_GENDERS else None
    band = (
        None
        if birth_year is None
        else AGE_BANDS[bisect_right(AGE_BANDS, max(0, year - birth_year)) - 1]
    )
    wanted = ((known, band), (known, None), (None, band))
    names = [peers(*each) for each in wanted if each != (None, None)]
    return tuple(dict.fromkeys(names))


def peers(gender: str | None, band: int | None) -> str:
    """The name of the audience of that gender and age band; None is any."""
    return f"peers:{gender or _ANY}:{_ANY if band is None else band}"
