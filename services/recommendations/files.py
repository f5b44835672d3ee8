"""Reading public data sets to measure recommendations on: CSV with a first line that names columns.

Interactions: `user,item,timestamp[,weight]`. Items: `item,name,tags,category`, of which all but the
first may be left out; tags are parted by `|`.
"""

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from services.imports.files import (
    FileUnusable,
    Layout,
    Line,
    open_source,
    read_header,
    read_pieces,
)
from services.recommendations.content import ItemTexts
from services.recommendations.dataset import Dataset

_INTERACTIONS = Layout(("user", "item", "timestamp"), ("weight",))
_ITEMS = Layout(("item",), ("name", "tags", "category"))
_LONGEST_NAME = 255
_EARLIEST_S, _LATEST_S = -62_135_596_800.0, 253_402_300_799.0
"""The years 1 to 9999: milliseconds, taken for seconds, are none of them."""
_LEAST_WEIGHT, _MOST_WEIGHT = 1e-6, 1e6
"""Beside one that is larger still the others would count for nothing, in 32 bits for each."""


@dataclass(slots=True)
class _Names:
    """Numbers for names, in the order in which they come."""

    numbers: dict[str, int] = field(default_factory=dict[str, int])

    def number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))


def read_interactions_file(path: Path) -> Dataset:
    """All interactions of a file; raises FileUnusable, which names the line that is no good."""
    users, items = _Names(), _Names()
    rows, columns = array("q"), array("q")
    at_s, weights = array("d"), array("d")
    for line in _lines(path, _INTERACTIONS):
        try:
            at_s.append(_read_time(line.values["timestamp"]))
            weights.append(_read_weight(line.values.get("weight", "")))
            rows.append(users.number(_read_name(line.values, "user")))
            columns.append(items.number(_read_name(line.values, "item")))
        except ValueError as error:
            raise FileUnusable(f"{path}, line {line.number}: {error}") from error
    if not rows:
        raise FileUnusable(f"{path} holds no interactions")
    return Dataset.of_names(
        list(users.numbers),
        list(items.numbers),
        np.array(rows),
        np.array(columns),
        np.array(at_s),
        np.array(weights),
    )


def read_items_file(path: Path) -> Mapping[str, ItemTexts]:
    """What a file says of its items; raises FileUnusable, which names the line that is no good."""
    texts: dict[str, ItemTexts] = {}
    for line in _lines(path, _ITEMS):
        try:
            name = _read_name(line.values, "item")
        except ValueError as error:
            raise FileUnusable(f"{path}, line {line.number}: {error}") from error
        if name in texts:
            raise FileUnusable(f"{path}, line {line.number}: item {name!r} came before")
        tags = (tag.strip() for tag in line.values.get("tags", "").split("|"))
        texts[name] = ItemTexts(
            line.values.get("name", ""), tuple(filter(None, tags)), line.values.get("category")
        )
    return texts


def _lines(path: Path, layout: Layout) -> Iterator[Line]:
    with open_source(path) as source:
        header = read_header(source, layout)
        for piece in read_pieces(source, header, 0, 0):
            for line in piece.lines:
                if line.problem is not None:
                    raise FileUnusable(f"{path}, line {line.number}: {line.problem}")
                yield line


def _read_name(values: Mapping[str, str], column: str) -> str:
    if not 1 <= len(values[column]) <= _LONGEST_NAME:
        raise ValueError(f"{column} needs 1 to {_LONGEST_NAME} characters")
    return values[column]


def _read_time(value: str) -> float:
    """Seconds since 1970, or an instant such as 2027-01-31T00:00:00Z; without a zone it is UTC."""
    try:
        seconds = _read_number(value)
    except ValueError:
        try:
            instant = datetime.fromisoformat(value)
            seconds = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            seconds = math.nan
    if not _EARLIEST_S <= seconds <= _LATEST_S:
        raise ValueError("timestamp must be seconds since 1970 or an instant, up to the year 9999")
    return seconds


def _read_weight(value: str) -> float:
    try:
        weight = _read_number(value) if value else 1.0
    except ValueError:
        weight = math.nan
    if not _LEAST_WEIGHT <= weight <= _MOST_WEIGHT:
        raise ValueError(f"weight must be a number from {_LEAST_WEIGHT:f} to {_MOST_WEIGHT:,.0f}")
    return weight


def _read_number(value: str) -> float:
    """As a file writes it: Python would take 1_000 for one, too."""
    if "_" in value:
        raise ValueError("no number")
    return float(value)
