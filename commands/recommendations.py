"""`recommendations`: training them, and measuring how good they are."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from commands.opening import run_in_mall
from services.imports.files import FileUnusable
from services.mall import Mall
from services.recommendations.cosine import SHRINKAGE
from services.recommendations.dataset import Split
from services.recommendations.ease import RIDGE
from services.recommendations.evaluate import (
    FEW_INTERACTIONS,
    NothingToMeasure,
    Question,
    Report,
    evaluate,
)
from services.recommendations.files import read_interactions_file, read_items_file
from services.recommendations.interactions import HALF_LIFE_DAYS
from services.recommendations.metrics import Quality
from services.recommendations.progress import Tell
from services.recommendations.train import train
from settings import load_settings

_USUAL = Question()

recommendations = typer.Typer(no_args_is_help=True, help="What members may want.")


@recommendations.command("train")
def train_now() -> None:
    """Learn from what the mall knows, and recommend by it; exit 1 when somebody else trains."""

    async def work(mall: Mall) -> int:
        with shown_progress() as tell:
            trained = await train(mall.stores, mall.clock, mall.zone, tell)
        if trained is None:
            typer.echo("Somebody else is training.", err=True)
            return 1
        figures = trained.figures
        typer.echo(
            f"Run {trained.run_id} is ready: {figures['interactions']:,} interactions of"
            f" {figures['users']:,} members, {figures['items']:,} items,"
            f" {figures['seconds']:.1f} s, peak {figures['peak_mib']:,} MiB."
        )
        return 0

    run_in_mall(load_settings(), work)


@recommendations.command("evaluate")
def evaluate_file(
    interactions: Annotated[
        Path, typer.Option(help="CSV: user,item,timestamp[,weight]; the first line names them.")
    ],
    items: Annotated[
        Path | None, typer.Option(help="CSV: item,name,tags,category; tags parted by |.")
    ] = None,
    split: Annotated[Split, typer.Option(help="What is held back.")] = Split.RANDOM,
    test_ratio: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="How much of it.")
    ] = _USUAL.test_ratio,
    k: Annotated[int, typer.Option("--k", min=1, max=1_000, help="Length of lists.")] = _USUAL.k,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance.")] = _USUAL.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure on a public data set how good recommendations are; needs no database.

    Exits 1 when a file cannot be read or is too small.
    """
    question = Question(split, test_ratio, k, seed)
    try:
        dataset = read_interactions_file(interactions)
        texts = None if items is None else read_items_file(items)
        with shown_progress() as tell:
            report = evaluate(dataset, texts, question, tell)
    except (FileUnusable, NothingToMeasure) as error:
        typer.echo(f"Nothing was measured: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(orjson.dumps(report.as_facts(), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(report, question)


def _show(report: Report, question: Question) -> None:
    console, chosen = Console(), report.chosen
    console.print(
        f"{report.learnt_from:,} interactions to learn from, {report.held_back:,} held back"
        f" ({question.split}, seed {question.seed}), {report.items:,} items.\n"
        f"Chosen on a part of the former: {chosen.algorithm}, ridge {chosen.ridge},"
        f" shrinkage {chosen.shrinkage}, half-life in days {chosen.half_life_days}"
        f" (NDCG there {chosen.validation_ndcg:.4f}).",
        highlight=False,
    )
    console.print(_table("All users", report.methods, question.k))
    console.print(
        _table(f"Users with up to {FEW_INTERACTIONS} interactions", report.few, question.k)
    )
    shipped = {"hybrid" if "hybrid" in report.methods else "collaborative": report.shipped}
    title = f"All users, with ridge {RIDGE}, shrinkage {SHRINKAGE} and {HALF_LIFE_DAYS:.0f} days"
    console.print(_table(f"{title}, as malls are trained", shipped, question.k))
    if report.cold_start is not None:
        cold = {
            "interests": report.cold_start.interests,
            "popularity": report.cold_start.popularity,
        }
        console.print(_table("Cold start: only interests are known", cold, question.k))


def _table(title: str, methods: Mapping[str, Quality], k: int) -> Table:
    # Narrow enough for a terminal of 80 columns, or what is no terminal.
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("method")
    names = ("users", f"precision@{k}", f"recall@{k}", f"NDCG@{k}", f"MAP@{k}")
    for name in (*names, "coverage", "novelty"):
        table.add_column(name, justify="right")
    for method, quality in methods.items():
        users, *means = quality.as_facts().values()
        table.add_row(method, f"{users:,.0f}", *(f"{mean:.4f}" for mean in means))
    return table


@contextmanager
def shown_progress() -> Generator[Tell]:
    """A bar on standard error for each thing that is done; told from any thread."""
    with Progress(console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=max(total, 1))

        yield tell
