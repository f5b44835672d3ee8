"""Public data sets as files, and what is said of those that are no good."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from services.imports.files import FileUnusable
from services.mall import Mall
from services.recommendations.content import ItemTexts
from services.recommendations.files import read_interactions_file, read_items_file
from tests.commands import run_command
from tests.services.recommendations.tastes import Tastes, as_csv, draw


def written(path: Path, text: str) -> Path:
    """A file with that text."""
    path.write_text(text, encoding="utf-8")
    return path


def test_interactions_are_read_whatever_order_they_come_in(tmp_path: Path) -> None:
    """Pairs that come twice are one: the later time, both weights."""
    lines = ["b,x,1970-01-01T00:01:00Z,2", "a,y,30,", '"a,1",x,5.5,1', "b,x,10,0.5"]
    files = [
        written(tmp_path / f"{number}.csv", "\n".join(["user,item,timestamp,weight", *order]))
        for number, order in enumerate((lines, lines[::-1]))
    ]
    for dataset in map(read_interactions_file, files):
        assert dataset.user_names == ["a", "a,1", "b"]
        assert dataset.item_names == ["x", "y"]
        assert dataset.users.tolist() == [0, 1, 2]
        assert dataset.items.tolist() == [1, 0, 0]
        assert dataset.at_s.tolist() == [30, 5.5, 60]
        assert dataset.weights.tolist() == [1, 1, 2.5]


def test_items_are_read(tmp_path: Path) -> None:
    """Tags are parted by |; columns may be left out, and stand in any order."""
    path = written(tmp_path / "items.csv", "tags,item,name\n茶| gift |,7,龙井\n,8,\n")
    assert read_items_file(path) == {
        "7": ItemTexts("龙井", ("茶", "gift"), None),
        "8": ItemTexts("", (), None),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line must name"),
        ("user,item\na,x\n", "the first line must name"),
        ("user,item,timestamp,rating\na,x,1,5\n", "the first line must name"),
        ("1\t2\t3\t881250949\n", "the first line must name"),
        ("user,item,timestamp\n", "holds no interactions"),
        ("user,item,timestamp\na,x,1\na,y\n", "line 3: not as many values as columns"),
        ("user,item,timestamp\na,x,soon\n", "line 2: timestamp must be"),
        ("user,item,timestamp\na,x,nan\n", "line 2: timestamp must be"),
        ("user,item,timestamp\na,x,1e999\n", "line 2: timestamp must be"),
        ("user,item,timestamp\na,x,1700000000000\n", "line 2: timestamp must be"),
        ("user,item,timestamp\na,x,1_000\n", "line 2: timestamp must be"),
        ("user,item,timestamp,weight\na,x,1,-1\n", "line 2: weight must be"),
        ("user,item,timestamp,weight\na,x,1,0\n", "line 2: weight must be"),
        ("user,item,timestamp,weight\na,x,1,1\na,x,1,1.7e308\n", "line 3: weight must be"),
        ("user,item,timestamp,weight\na,x,1,1e-300\n", "line 2: weight must be"),
        ("user,item,timestamp,weight\na,x,1,1_000\n", "line 2: weight must be"),
        ("user,item,timestamp,weight\na,x,1,inf\n", "line 2: weight must be"),
        ("user,item,timestamp\n,x,1\n", "line 2: user needs 1 to 255 characters"),
        ("user,item,timestamp\na,x\x01,1\n", "line 2: control characters"),
    ],
)
def test_files_that_are_no_good(tmp_path: Path, text: str, said: str) -> None:
    """The line is named."""
    with pytest.raises(FileUnusable, match=said):
        read_interactions_file(written(tmp_path / "bad.csv", text))


def test_an_item_comes_once(tmp_path: Path) -> None:
    """Which of the two would be meant?"""
    with pytest.raises(FileUnusable, match="line 3: item 'x' came before"):
        read_items_file(written(tmp_path / "items.csv", "item,name\nx,a\nx,b\n"))


async def test_the_command_measures_without_any_database(mall: Mall, tmp_path: Path) -> None:
    """As a table, or as JSON, the same numbers."""
    away = {"database_url": "postgresql://nobody@127.0.0.1:1/nothing", "redis_url": "redis://no"}
    settings = replace(mall.settings, stores=mall.settings.stores.model_copy(update=away))
    dataset, texts = draw(0, Tastes(users=120, items=60))
    interactions = written(tmp_path / "interactions.csv", "\n".join(as_csv(dataset)))
    items = [f"{item},{text.name},{'|'.join(text.tags)},kind" for item, text in texts.items()]
    described = written(tmp_path / "items.csv", "\n".join(["item,name,tags,category", *items]))
    command = ("recommendations", "evaluate", "--interactions", str(interactions))
    command += ("--items", str(described), "--split", "temporal", "--test-ratio", "0.3")
    command += ("--k", "5", "--seed", "4")
    done = await run_command(settings, *command, "--json")
    assert done.returncode == 0, done.stderr
    report = orjson.loads(done.stdout)
    assert set(report["methods"]) == {"hybrid", "collaborative", "content", "popularity"}
    assert report["held_back"] == round(0.3 * len(dataset))
    assert report["chosen"]["algorithm"] == "ease"
    assert report["cold_start"]["interests"]["users"] > 0
    shown = await run_command(settings, *command)
    assert shown.returncode == 0
    for name in ("NDCG@5", "hybrid", "interests", f"{report['methods']['hybrid']['ndcg']:.4f}"):
        assert name in shown.stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--split", "sideways"], 2, "Invalid value"),
        (["--test-ratio", "1.5"], 2, "Invalid value"),
        (["--k", "0"], 2, "Invalid value"),
        ([], 1, "Nothing was measured: "),
    ],
)
async def test_what_the_command_refuses(
    mall: Mall, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    """2 for how it was asked, 1 for what is in the file."""
    path = written(tmp_path / "one.csv", "user,item,timestamp\na,x,1\n")
    command = ("recommendations", "evaluate", "--interactions", str(path), *options)
    done = await run_command(mall.settings, *command)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == ""
