"""Language tags (BCP 47), well formed and written as RFC 5646 recommends."""

import re

LONGEST_TAG = 35
"""What RFC 5646, 4.4.1, asks everybody to have room for."""

_WELL_FORMED = re.compile(
    r"""
    (?: [a-z]{2,3} (?: -[a-z]{3} ){0,3} | [a-z]{4,8} )        # language
    (?: -[a-z]{4} )?                                          # script
    (?: - (?: [a-z]{2} | [0-9]{3} ) )?                        # region
    (?: - (?: [a-z0-9]{5,8} | [0-9][a-z0-9]{3} ) )*           # variants
    (?: - [0-9a-wy-z] (?: -[a-z0-9]{2,8} )+ )*                # extensions
    (?: -x (?: -[a-z0-9]{1,8} )+ )?                           # private use
    """,
    re.VERBOSE | re.ASCII,
)


def read_language_tag(text: str) -> str | None:
    """The tag as it is usually written (`zh-Hans-CN`); None for what is not well formed.

    An underscore counts as a hyphen, as it does in Accept-Language and in tokens.
    """
    tag = text.replace("_", "-").lower()
    if len(tag) > LONGEST_TAG or not _WELL_FORMED.fullmatch(tag):
        return None
    language, *subtags = tag.split("-")
    written, is_extension = [language], False
    for subtag in subtags:
        is_extension = is_extension or len(subtag) == 1
        written.append(subtag if is_extension else _usual(subtag))
    return "-".join(written)


def _usual(subtag: str) -> str:
    """Regions in capitals, scripts with one."""
    if not subtag.isalpha():
        return subtag
    return {2: subtag.upper(), 4: subtag.title()}.get(len(subtag), subtag)
