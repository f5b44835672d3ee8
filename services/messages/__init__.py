"""Text that members read, in Simplified Chinese and English, from message catalogues.

The English text is the key. The Chinese catalogue beside this file is read as it is written: a
compiled copy in the repository could only disagree with it.
"""

from datetime import date
from decimal import Decimal
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.dates import format_date
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

CHINESE = "zh-CN"
ENGLISH = "en"


def message(locale: str, text: str, /, **facts: object) -> str:
    """Say ``text``, English with ``{name}`` placeholders, in the reader's language.

    Numbers, dates and tuples among the facts are written as the language does. Raises KeyError
    when a placeholder's fact is missing.
    """
    said = _TRANSLATIONS[_language(locale)].gettext(text)
    return said.format_map(_written(locale, facts))


def plural_message(locale: str, singular: str, plural: str, count: int, /, **facts: object) -> str:
    """Say the form that ``count`` asks for; ``{count}`` is among the facts by itself.

    Raises KeyError when a placeholder's fact is missing.
    """
    said = _TRANSLATIONS[_language(locale)].ngettext(singular, plural, count)
    return said.format_map(_written(locale, {"count": count, **facts}))


def negotiate_locale(accept_language: str | None) -> str:
    """Return "zh-CN" or "en", whichever an Accept-Language value prefers; Chinese in doubt."""
    qualities: dict[str, float] = {}
    for entry in (accept_language or "").split(","):
        language, quality = _preference(entry)
        qualities[language] = max(quality, qualities.get(language, 0.0))
    others = qualities.get("*", 0.0)
    chinese, english = qualities.get("zh", others), qualities.get("en", others)
    if chinese == english > 0:  # as wanted as each other: the one named first
        named = next((language for language in qualities if language in ("zh", "en")), "zh")
        return ENGLISH if named == "en" else CHINESE
    return ENGLISH if english > chinese else CHINESE


def _preference(entry: str) -> tuple[str, float]:
    language, _, parameters = entry.partition(";")
    primary = language.strip().lower().replace("_", "-").partition("-")[0]
    name, _, value = parameters.partition("=")
    return primary, _quality(value) if name.strip().lower() == "q" else 1.0


def _quality(value: str) -> float:
    try:
        quality = float(value)
    except ValueError:
        return 0.0  # a preference that cannot be read is none
    return quality if 0 <= quality <= 1 else 0.0


def _language(locale: str) -> str:
    return ENGLISH if locale.lower().startswith("en") else CHINESE


def _written(locale: str, facts: dict[str, object]) -> dict[str, object]:
    babel_locale = _BABEL_LOCALES[_language(locale)]
    return {name: _write(fact, babel_locale) for name, fact in facts.items()}


def _write(fact: object, babel_locale: Locale) -> object:
    if isinstance(fact, int | float | Decimal) and not isinstance(fact, bool):
        return format_decimal(fact, locale=babel_locale)
    if isinstance(fact, date):
        return format_date(fact, "long", locale=babel_locale)
    if isinstance(fact, tuple):
        return format_list([str(_write(each, babel_locale)) for each in fact], locale=babel_locale)
    return fact


def _read_catalogue(path: Path) -> GNUTranslations:
    with path.open("rb") as source:
        catalogue = read_po(source, locale=path.stem, abort_invalid=True)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


# Parsed once: parsing a locale costs more than formatting a number.
_BABEL_LOCALES = {CHINESE: Locale("zh", script="Hans", territory="CN"), ENGLISH: Locale("en")}
_TRANSLATIONS: dict[str, NullTranslations] = {
    CHINESE: _read_catalogue(Path(__file__).with_name("zh_CN.po")),
    ENGLISH: NullTranslations(),
}
