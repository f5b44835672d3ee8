"""`recommendations`: training them, and measuring how good they are."""

from collections.abc import Generator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from commands.opening import run_in_mall
from services.mall import Mall
from services.recommendations.progress import Tell
from services.recommendations.train import train
from settings import load_settings

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
