"""Messages in two languages, and the rule that every text in the code has its translation."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from services import messages
from services.messages import message, negotiate_locale, plural_message

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "services" / "messages" / "zh_CN.po"
STREETS = ("services", "schema", "resolvers")
TEXTS_OF = {"message": 1, "plural_message": 2}  # how many texts follow the locale


@dataclass(frozen=True)
class Usage:
    """One call: its texts, None for no literal, and the facts it gives, None when not all named."""

    place: str
    texts: tuple[str | None, ...]
    facts: frozenset[str] | None


def usages(source: str, place: str) -> Iterator[Usage]:
    """Find the calls of message and plural_message, however the module imported them."""
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "services.messages"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _called(node.func, imported)) in TEXTS_OF:
            yield _usage(node, name, f"{place}:{node.lineno}")


def _called(function: ast.expr, imported: dict[str, str]) -> str | None:
    if isinstance(function, ast.Name):
        return imported.get(function.id)
    if isinstance(function, ast.Attribute) and ast.unparse(function.value).endswith("messages"):
        return function.attr
    return None


def _usage(call: ast.Call, name: str, place: str) -> Usage:
    given = call.args[1 : 1 + TEXTS_OF[name]]
    texts = tuple(
        argument.value
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        else None
        for argument in given
    )
    facts = {keyword.arg for keyword in call.keywords}
    if name == "plural_message":
        facts.add("count")
    return Usage(place, texts or (None,), None if None in facts else frozenset(facts))


def translations() -> dict[str | tuple[str, ...], tuple[str, ...]]:
    """Return what the catalogue has, by the English text or pair of texts; no drafts."""
    with CATALOGUE.open("rb") as source:
        catalogue = read_po(source, locale="zh_CN", abort_invalid=True)
    return {
        entry.id: (entry.string,) if isinstance(entry.string, str) else entry.string
        for entry in catalogue
        if entry.id and not entry.fuzzy
    }


def placeholders(text: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def faults(usage: Usage, known: dict[str | tuple[str, ...], tuple[str, ...]]) -> list[str]:
    """Say what is wrong with a call: nothing, for a good one."""
    if None in usage.texts:
        return [f"{usage.place}: the text is no string literal"]
    key = usage.texts[0] if len(usage.texts) == 1 else usage.texts
    if not all(known.get(key, ("",))):
        return [f"{usage.place}: no translation of {key!r}"]
    wanted = placeholders(usage.texts[-1])
    found = []
    if any(placeholders(said) != wanted for said in known[key]):
        found.append(f"{usage.place}: the translation of {key!r} has other placeholders")
    if usage.facts is not None and usage.facts - {"count"} != wanted - {"count"}:
        found.append(f"{usage.place}: {sorted(usage.facts)} given, {sorted(wanted)} wanted")
    return found


def all_usages() -> list[Usage]:
    files = sorted(file for street in STREETS for file in (ROOT / street).rglob("*.py"))
    return [
        usage
        for file in files
        for usage in usages(file.read_text("utf-8"), str(file.relative_to(ROOT)))
    ]


def test_every_text_in_the_code_is_translated():
    known = translations()
    assert [fault for usage in all_usages() for fault in faults(usage, known)] == []


def test_every_translation_is_used():
    found = all_usages()
    used = {usage.texts[0] if len(usage.texts) == 1 else usage.texts for usage in found}
    if found:  # the catalogue was written first: until somebody says anything, all of it waits
        assert sorted(map(str, translations().keys() - used)) == []


def test_every_translation_keeps_its_placeholders():
    for key, said in translations().items():
        english = key if isinstance(key, str) else key[-1]
        assert all(said), english
        assert {placeholders(text) for text in said} == {placeholders(english)}
        assert all(name.isidentifier() for name in placeholders(english))


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("message(locale, 'Gone: {what}', what=1)", None),
        ("message(locale, 'Gone: {what}', **facts)", None),
        ("plural_message(locale, 'One', '{count} of them', 3)", None),
        ("message(locale, 'Unheard of')", "no translation"),
        ("message(locale, 'Empty')", "no translation"),
        ("message(locale, 'Off: {what}', what=1)", "other placeholders"),
        ("message(locale, 'Gone: {what}', who=1)", "given"),
        ("message(locale, text)", "no string literal"),
        ("message(locale, f'Gone: {what}')", "no string literal"),
        ("message(locale)", "no string literal"),
        ("plural_message(locale, 'One', text, 3)", "no string literal"),
    ],
)
@pytest.mark.parametrize(
    "import_and_prefix",
    [
        "from services.messages import message, plural_message\n",
        "import services.messages\nservices.messages.",
        "from services import messages\nmessages.",
    ],
)
def test_the_rule_sees_what_it_should(import_and_prefix, call, fault):
    known = {
        "Gone: {what}": ("{what} 没了",),
        "Off: {what}": ("没了",),
        "Empty": ("",),
        ("One", "{count} of them"): ("{count} 个",),
    }
    [usage] = usages(import_and_prefix + call, "here.py")
    found = faults(usage, known)
    assert found == [] if fault is None else fault in found[0]


def test_the_rule_knows_another_name_and_leaves_other_functions_alone():
    renamed = "from services.messages import message as say\nsay(locale, text)\nmessage(a, b)\n"
    assert [usage.place for usage in usages(renamed, "here.py")] == ["here.py:2"]


@pytest.mark.parametrize("locale", ["zh-CN", "zh", "fr", ""])
def test_a_message_is_chinese_unless_english_is_asked_for(locale):
    assert message(locale, "This item is sold out.") == "来晚一步，这件商品已经兑完啦。"


@pytest.mark.parametrize("locale", ["en", "en-GB", "EN_us"])
def test_a_message_in_english_is_the_text_itself(locale):
    assert message(locale, "This item is sold out.") == "This item is sold out."


def test_numbers_are_written_for_the_reader():
    text = "You need {required} points and have {available}."
    assert message("en", text, required=1000, available=Decimal("12.5")) == (
        "You need 1,000 points and have 12.5."
    )
    assert message("zh-CN", text, required=1234567, available=0) == (
        "积分不够哦：需要 1,234,567 积分，您现有 0 积分。"
    )


@pytest.mark.parametrize("day", [date(2026, 12, 31), datetime(2026, 12, 31, 23, 59, tzinfo=UTC)])
def test_dates_are_written_for_the_reader(day):
    text = "{points} points expire on {date}: use them before they are gone."
    assert "December 31, 2026" in message("en", text, points=1, date=day)
    assert "2026年12月31日" in message("zh-CN", text, points=1, date=day)


def test_a_fact_is_never_read_as_a_format():
    text = "The request is not valid: {problem}"
    assert message("en", text, problem="{locale.__class__}").endswith("{locale.__class__}")


def test_facts_may_be_called_what_they_are():
    assert message("en", "{locale} {text}", locale="a", text="b") == "a b"


def test_a_missing_fact_is_an_error():
    with pytest.raises(KeyError):
        message("en", "The request is not valid: {problem}")


def test_plurals(monkeypatch, tmp_path):
    catalogue = tmp_path / "zh_CN.po"
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    entry = 'msgid "{count} point"\nmsgid_plural "{count} points"\nmsgstr[0] "{count} 积分"\n'
    catalogue.write_text(header + entry, "utf-8")
    translated = messages._read_catalogue(catalogue)
    monkeypatch.setitem(messages._TRANSLATIONS, "zh-CN", translated)
    said = [
        plural_message(locale, "{count} point", "{count} points", count)
        for locale in ("en", "zh-CN")
        for count in (1, 2000)
    ]
    assert said == ["1 point", "2,000 points", "1 积分", "2,000 积分"]


@pytest.mark.parametrize(
    ("accept_language", "locale"),
    [
        (None, "zh-CN"),
        ("", "zh-CN"),
        ("*", "zh-CN"),
        ("fr-FR, de;q=0.9", "zh-CN"),
        ("en", "en"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh;q=0.1, EN_us ; Q=0.2", "en"),
        ("fr, en;q=0.5, zh-TW;q=0.4", "en"),
        ("en, zh", "en"),
        ("zh, en", "zh-CN"),
        ("en;q=0", "zh-CN"),
        ("zh;q=0, *", "en"),
        ("en;q=0.5, *", "zh-CN"),
        ("en;q=high, zh;q=0.1", "zh-CN"),
        ("en;q=nan", "zh-CN"),
        ("en;q=2, zh;q=0.1", "zh-CN"),
        ("en;level=1", "en"),
    ],
)
def test_the_locale_is_negotiated(accept_language, locale):
    assert negotiate_locale(accept_language) == locale


@given(st.text())
def test_any_header_gives_a_locale_we_have(header):
    assert negotiate_locale(header) in {"zh-CN", "en"}
