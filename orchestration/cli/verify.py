"""``headwater verify``: incremental = full, or the rows that differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli.app import EXIT_FAILED
from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.samples import show_samples
from orchestration.cli.status import show_costs
from orchestration.cli.words import count, duration, size
from orchestration.runtime.status import costs
from orchestration.runtime.twin import Reprocessed
from orchestration.runtime.twin import reprocess as run_twin
from orchestration.runtime.verify import Verification
from orchestration.runtime.verify import verify as compare

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_verification", "verify"]


@click.command()
@name_argument
@click.option(
    "--reprocess/--no-reprocess",
    default=True,
    help="Run the full reprocess first (the default), or compare with the last one.",
)
@json_option
@pass_context
def verify(context: Context, name: str, *, reprocess: bool, as_json: bool) -> None:
    """Reprocess the whole input of NAME into its twin's table, and compare row for row.

    Exit code 1 unless the two are identical.
    """
    console = context.console(as_json=as_json)
    with context.query(name).open() as session:
        full = None
        if reprocess:
            with console.status(f"{name}: reprocessing everything it has read …"):
                full = run_twin(session)
        with console.status(f"{name}: comparing row for row …"):
            result = compare(session)
        panel = costs(session)
    if as_json:
        context.emit({"query": name, **result.to_json(), "costs": panel.to_json()})
    else:
        show_verification(console, name, full, result)
        show_costs(console, panel)
    if not result.passed:
        raise click.exceptions.Exit(EXIT_FAILED)


def show_verification(
    console: Console, name: str, full: Reprocessed | None, result: Verification
) -> None:
    """Say what was compared and how it came out."""
    if full is not None:
        console.print(
            f"Full reprocess of {name}: {count(full.rows_read, 'record')} from "
            f"{count(full.files, 'file')} ({size(full.bytes)}) in {duration(full.seconds)}"
        )
    for note in result.notes:
        console.print(f"  note: {note}", style="yellow")
    if result.passed:
        console.print(
            f"identical: {count(result.incremental_rows, 'row')} in both tables, row for row",
            style="bold green",
        )
        return
    if result.outcome == "not_comparable":
        console.print(f"not comparable: {result.reason}", style="bold yellow")
        return
    console.print(f"DIFFERENT: {result.reason}", style="bold red")
    console.print(
        f"  incremental {count(result.incremental_rows, 'row')} "
        f"(version {result.incremental_version}), full {count(result.full_rows, 'row')} "
        f"(version {result.full_version})"
    )
    show_samples(console, result.samples_incremental, "only in the incremental table")
    show_samples(console, result.samples_full, "only in the full reprocess")
    console.print(
        "→ a function in map_batches that is not repeatable, or a table that somebody else "
        f"changed? 'headwater reset {name}' starts the incremental one anew"
    )
