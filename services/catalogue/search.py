"""What an item is found by, and what a text asks for, in the language of PostgreSQL's full text.

The words are made here, not by the database: its parsers know no Chinese. A run of Chinese is held
as the words that a dictionary finds in it, as every two neighbouring characters, and as its last
character: so any part of it is found, however the dictionary would cut it. What was decided, and
what it costs: `docs/decisions/0010-search-on-full-text.md`.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import rjieba

from services.errors import BadInput

LONGEST_SEARCH = 200
"""Characters of a text to search for."""

_LONGEST_FIELD = 2_000
"""Characters of a name, of all tags, or of a description by which an item is found."""

_LONGEST_WORD = 40
"""Characters of a word that count; a longer one is no word of any language."""

_SHORTEST_MISTYPED = 4
"""Letters from which on a mistake is forgiven: among shorter words nearly all are neighbours."""

_MOST_WORDS, _MOST_TERMS = 12, 48
"""Words of a query, and terms to rank by, that count: anyone may send a search, and each costs."""

# Positions carry nothing but the weight, so each field is one position.
_NAME, _TAGS, _MISTYPED, _DESCRIPTION = "1A", "2B", "3C", "4D"
_VARIANT_MARK = "~"  # part of no word, so a variant never meets a word

_CHINESE = (
    "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
)
_TOKEN = re.compile(rf"(?P<chinese>[{_CHINESE}]+)|(?P<number>\d+)|(?P<word>[^\W\d_{_CHINESE}]+)")
_COMPOUND = re.compile(rf"[^\W\d_{_CHINESE}]+(?:[-'’][^\W\d_{_CHINESE}]+)+")
_NOT_LETTERS = re.compile(r"\W")

_STOP_WORDS = {"an", "and", "for", "in", "of", "on", "or", "the", "to", "with"} | set(
    "的了和与及或是在有之我你吗呢给"
)


@dataclass(frozen=True, slots=True)
class _Token:
    """A run of Chinese, of digits or of letters, folded."""

    text: str
    kind: str | None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What a text asks for.

    `stages` are conditions (tsquery), each more forgiving than the one before: the first that finds
    anything counts. None at all finds nothing. `ranking` (tsquery) names all that speaks for an
    item, to be ranked by.
    """

    stages: tuple[str, ...]
    ranking: str


def search_document(
    name: str, description: str | None, category: str | None, tags: Iterable[str]
) -> str:
    """The text of the tsvector that an item is found by; bind it as `CAST(:x AS tsvector)`.

    Whoever writes a name, description, category or tags of an item writes this with it. Never
    raises, whatever characters there are.
    """
    fields: defaultdict[str, set[str]] = defaultdict(set)
    labels = " ".join([*([category] if category else []), *tags])
    for text, field in ((name, _NAME), (labels, _TAGS), (description or "", _DESCRIPTION)):
        for word in document_words(text):
            fields[word].add(field)
    for token in _tokens(_folded(f"{name[:_LONGEST_FIELD]} {labels[:_LONGEST_FIELD]}")):
        for variant in _variants(token):
            fields[variant].add(_MISTYPED)
    return " ".join(f"'{word}':{','.join(sorted(at))}" for word, at in sorted(fields.items()))


def document_words(text: str) -> Iterator[str]:
    """The words that a text is found by, some of them several times; never raises."""
    folded = _folded(text)
    for token in _tokens(folded):
        if token.kind == "chinese":
            yield from (word for word in rjieba.cut_for_search(token.text) if len(word) > 1)
            yield from _pairs(token.text)
            yield token.text[-1]  # all others begin a pair, and are found as its prefix
        else:
            yield token.text
    for compound in _COMPOUND.finditer(folded):
        yield _NOT_LETTERS.sub("", compound.group())[:_LONGEST_WORD]


def search_query(text: str | None) -> SearchQuery | None:
    """What to look for; None when the text is blank: that does not filter.

    Raises BadInput for a text of more than LONGEST_SEARCH characters, or with U+0000 in it.
    """
    if text is None or not text.strip():
        return None
    if len(text) > LONGEST_SEARCH:
        raise BadInput(f"search must not be longer than {LONGEST_SEARCH} characters")
    if "\x00" in text:
        raise BadInput("no text may hold the character U+0000")
    tokens = list(_tokens(_folded(text)))
    words = _telling_words([word for token in tokens for word in _query_words(token)])
    if not words:
        return SearchQuery((), "")
    last = words[-1]
    exact = [_exact(word, is_last=word is last) for word in words]
    forgiving = [_either([exact[n], *_quoted(_variants(word))]) for n, word in enumerate(words)]
    parts = [_either([forgiving[n], *_parts(word)]) for n, word in enumerate(words)]
    stages = (" & ".join(exact), " & ".join(forgiving), " | ".join(parts))
    return SearchQuery(tuple(dict.fromkeys(stages)), _ranking(tokens, words))


def _folded(text: str) -> str:
    """Width, case and accents make no difference; what is long is cut."""
    folded = unicodedata.normalize("NFKD", text[:_LONGEST_FIELD]).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    bare = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
    return unicodedata.normalize("NFC", bare)


def _tokens(folded: str) -> Iterator[_Token]:
    """`usb-c` is two, and so is `65w`: people write them apart as well."""
    for match in _TOKEN.finditer(folded):
        is_chinese = match.lastgroup == "chinese"
        text = match.group() if is_chinese else match.group()[:_LONGEST_WORD]
        yield _Token(text, match.lastgroup)


def _query_words(token: _Token) -> list[_Token]:
    if token.kind != "chinese":
        return [token]
    return [_Token(word, token.kind) for word in rjieba.cut(token.text)]


def _telling_words(words: Sequence[_Token]) -> list[_Token]:
    """Each once, without those that say nothing, unless there are no others.

    Letters that stand last are kept: `the` may become `thermos`.
    """
    telling = [
        word
        for word in words
        if word.text not in _STOP_WORDS or (word is words[-1] and word.kind == "word")
    ]
    return list(dict.fromkeys(telling or words))[:_MOST_WORDS]


def _pairs(chinese: str) -> list[str]:
    return [first + second for first, second in pairwise(chinese)]


def _variants(token: _Token) -> list[str]:
    """The word, and the word without each of its letters.

    Two words share one of these when a letter is wrong, missing, too many, or swapped with the next
    (SymSpell, distance 1).
    """
    word = token.text
    if token.kind != "word" or len(word) < _SHORTEST_MISTYPED:
        return []
    shorter = {word[:place] + word[place + 1 :] for place in range(len(word))}
    return [_VARIANT_MARK + variant for variant in sorted({word, *shorter})]


def _exact(word: _Token, *, is_last: bool) -> str:
    """A condition for one word; the last one may still be unfinished."""
    if word.kind != "chinese":
        return f"'{word.text}':*" if is_last else f"'{word.text}'"
    if len(word.text) == 1:
        return f"'{word.text}':*"
    return f"({' & '.join(_quoted(_pairs(word.text)))})"


def _parts(word: _Token) -> list[str]:
    """Of a longer Chinese word any two neighbours; of two characters both, wherever they are."""
    if word.kind != "chinese" or len(word.text) == 1:
        return []
    if len(word.text) == 2:  # noqa: PLR2004 - a pair
        return [f"('{word.text[0]}':* & '{word.text[1]}':*)"]
    return _quoted(_pairs(word.text))


def _ranking(tokens: Iterable[_Token], words: Sequence[_Token]) -> str:
    """Whole words count beside what they begin, neighbours beside single words."""
    terms: dict[str, None] = {}
    for word in words:
        prefix = [f"'{word.text}':*"] if word is words[-1] or len(word.text) == 1 else []
        terms |= dict.fromkeys([*_quoted([word.text]), *prefix, *_quoted(_variants(word))])
    for token in tokens:
        if token.kind == "chinese":
            terms |= dict.fromkeys(_quoted(_pairs(token.text)))
    return " | ".join(list(terms)[:_MOST_TERMS])


def _either(conditions: Sequence[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' | '.join(conditions)})"


def _quoted(words: Iterable[str]) -> list[str]:
    """Words hold letters and digits only, so nothing in them has to be escaped."""
    return [f"'{word}'" for word in words]
