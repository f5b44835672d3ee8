"""Interests as members write them and tags as operators do, made comparable."""

import unicodedata


def fold_interest(text: str) -> str:
    """The form in which an interest is looked up: width, case and blanks make no difference."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
