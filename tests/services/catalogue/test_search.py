"""What an item is found by, and what a text asks for: any characters, both ways."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalogue.search import LONGEST_SEARCH, SearchQuery, search_document, search_query
from services.errors import BadInput
from services.mall import Mall
from tests.factories import execute

ANY_TEXT = st.text(st.characters(), max_size=LONGEST_SEARCH)  # lone surrogates too
HARD = st.text(
    st.sampled_from(
        "'\"\\:*&|!()<->~ \t\n%_aZé0９Ａ①½ßİﷺ㎏👍\ufe0f\u202e\u0e48ा茶叶耳机の한ー々𠀀𠮷"
    ),
    max_size=LONGEST_SEARCH,
)
TEXT = st.one_of(ANY_TEXT, HARD)
HAN = "茶叶绿机耳充电器牛奶咖啡豆券会员年卡之的了音乐家居旅行"


def query_of(text: str) -> SearchQuery:
    """The query of a text that is not blank."""
    query = search_query(text)
    assert query is not None
    return query


async def finds(mall: Mall, pairs: list[tuple[str, str]]) -> list[bool]:
    """Whether PostgreSQL says that each document answers its query."""
    rows = await execute(
        mall,
        "SELECT CAST(document AS tsvector) @@ CAST(query AS tsquery)"
        " FROM unnest(CAST(:documents AS text[]), CAST(:queries AS text[]))"
        " AS row(document, query)",
        documents=[document for document, _ in pairs],
        queries=[query for _, query in pairs],
    )
    return [row[0] for row in rows]


@given(TEXT, st.none() | TEXT, st.none() | TEXT, st.lists(TEXT, max_size=3))
def test_a_document_of_anything_holds_words_only(
    name: str, description: str | None, category: str | None, tags: list[str]
) -> None:
    """Quotes and backslashes would have to be escaped; no word has one, nor a space."""
    document = search_document(name, description, category, tags)
    for entry in document.split(" ") if document else []:
        _, word, fields = entry.split("'")
        assert word.strip("~")
        assert not set(word.removeprefix("~")) & set("'\\:*&|!()<>~ \t\n"), entry
        assert set(fields[1:].split(",")) <= {"1A", "2B", "3C", "4D"}


@given(TEXT)
def test_a_query_of_anything_is_balanced_or_none(text: str) -> None:
    """Blank is no query, U+0000 is refused, all else is a query of words."""
    if "\x00" in text and text.strip():
        with pytest.raises(BadInput):
            search_query(text)
        return
    query = search_query(text)
    assert (query is None) == (not text.strip())
    if query is not None:
        assert bool(query.stages) == bool(query.ranking)
        for stage in query.stages:
            assert stage.count("(") == stage.count(")")
            assert stage.count("'") % 2 == 0


def test_a_search_costs_only_so_much() -> None:
    """Words are looked up once, the first twelve of them; ranking has an end too."""
    assert query_of("茶 usb 茶 usb 茶").stages == query_of("茶 usb").stages
    many = query_of(" ".join(HAN))
    assert many.stages[0].count("&") == 11
    for text in (HAN * 7, "a" * 200, " ".join(f"word{char}" for char in HAN)):
        assert len(query_of(text[:LONGEST_SEARCH]).ranking.split(" | ")) <= 48


async def test_postgresql_reads_them_all(mall: Mall) -> None:
    """Every character there is, and noise: valid as document and as query."""
    random = Random(4)
    alphabet = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    texts = ["".join(alphabet[at : at + 150]) for at in range(0, len(alphabet), 150 * 17)]
    texts += ["".join(random.choices("'\\:*&|!()<->~ ab茶叶9", k=60)) for _ in range(300)]
    texts += ["a" * 200, "茶" * 200, "'" * 200, "a-" * 100, "9" * 200, "ﷺ" * 200]
    queries = [query for query in map(search_query, texts) if query is not None]
    document = search_document("茶" * 9_000, "b" * 9_000, "ﷺ" * 9_000, texts)
    conditions = [part for query in queries for part in (*query.stages, query.ranking)]
    assert len(conditions) > 1_000
    await finds(mall, [(document, condition) for condition in conditions])
    await finds(mall, [(search_document(t, t, t, [t]), "a") for t in texts])


async def test_any_part_of_a_chinese_text_finds_it(mall: Mall) -> None:
    """However the dictionary cuts the whole and the part, and in whichever field."""
    random, pairs = Random(7), []
    for number in range(600):
        whole = "".join(random.choices(HAN, k=random.randint(1, 12)))
        start = random.randrange(len(whole))
        part = whole[start : start + random.randint(1, 6)]
        fields: Any = [("", None, None, []), (whole, None, None, []), ("", whole, None, [])]
        fields += [("", None, whole, []), ("", None, None, ["x", whole])]
        document = search_document(*fields[1 + number % 4])
        pairs.append((document, query_of(part).stages[0]))
    found = await finds(mall, pairs)
    assert [pair for pair, is_found in zip(pairs, found, strict=True) if not is_found] == []


async def test_one_mistake_in_a_latin_word_is_forgiven(mall: Mall) -> None:
    """A letter wrong, missing, too many, or two swapped; never in a word of three letters."""
    document = search_document("Wireless Headphones USB", None, None, ["音乐"])
    forgiven = "headphnes headpphones heabphones haedphones eadphones headphone wirless wirelessx"
    for text in (*forgiven.split(), "wirelss haedphones", "Wirelss 音乐"):
        stages = query_of(text).stages
        assert await finds(mall, [(document, s) for s in stages[:2]]) != [False, False], text
    for text in ("uzb", "usbb", "hedfones", "wrlss"):
        assert not any(await finds(mall, [(document, s) for s in query_of(text).stages])), text


async def test_the_last_word_may_be_unfinished(mall: Mall) -> None:
    """Others may not, unless it is Chinese, or nothing has them all."""
    document = search_document("Wireless Headphones", "ergonomic", "Audio", ["studio"])
    expected = {
        "wi": True,
        "wireless hea": True,
        "wirel headphones": False,
        "stu": True,
        "erg": True,
    }
    found = await finds(mall, [(document, query_of(text).stages[0]) for text in expected])
    assert found == list(expected.values())


async def test_width_case_and_accents_make_no_difference(mall: Mall) -> None:
    """Nor does whether digits and letters are written together."""
    pairs = (
        ("Ｃａｆé", "CAFE"),
        ("cafe", "ＣＡＦÉ"),
        ("straße", "STRASSE"),
        ("65W 充电器", "65 w"),
        ("６５ｗ", "65W"),
        ("USB-C 线", "usb c"),
        ("USB-C 线", "usbc"),
        ("K 歌", "k歌"),
        ("ｶﾗｵｹ", "カラオケ"),
    )
    documents = [(search_document(name, None, None, []), text) for name, text in pairs]
    found = await finds(
        mall, [(document, query_of(text).stages[0]) for document, text in documents]
    )
    assert found == [True] * len(pairs)


def test_words_that_say_nothing_are_left_out() -> None:
    """Unless there are no others, or the last one may become one that does."""
    assert query_of("妈妈的茶").stages == query_of("妈妈 茶").stages
    assert query_of("case for the phone").stages == query_of("case phone").stages
    assert query_of("the").stages == ("'the':*",)
    assert query_of("的").stages == ("'的':*",)


def test_what_holds_no_word_finds_nothing() -> None:
    """It is no filter that is missing: something was asked for."""
    for text in ("!!!", "🎉", "-", "'", "...", "\u200b"):
        assert query_of(text) == SearchQuery((), "")


@pytest.mark.parametrize("text", [None, "", " ", "\t\n", "　"])
def test_a_blank_text_asks_for_nothing(text: str | None) -> None:
    """Blanks of any width."""
    assert search_query(text) is None


def test_a_text_has_a_longest_length() -> None:
    """200 characters, whatever they are."""
    for char in "a茶'👍":
        assert search_query(char * 200) is not None
        with pytest.raises(BadInput, match="200"):
            search_query(char * 201)
