"""``headwater prove``: exactly once, shown on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from orchestration.cli.app import EXIT_FAILED
from orchestration.cli.child import command
from orchestration.cli.context import Context, json_option, name_argument, pass_context
from orchestration.cli.words import count, shorten, size
from orchestration.config import parse_bytes
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.prove import Kill, Proof
from orchestration.runtime.prove import prove as prove_query

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["prove"]


def _bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    del ctx, param
    try:
        return parse_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@name_argument
@click.option(
    "--kills",
    default=5,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Kills at random moments, besides the {len(CRASH_POINTS)} named crash points.",
)
@click.option(
    "--at",
    "points",
    multiple=True,
    type=click.Choice(CRASH_POINTS),
    help="Only at this crash point; may be given again. Default: at all of them.",
)
@click.option("--seed", type=int, help="Of the random moments, to repeat a proof.")
@click.option(
    "--max-bytes",
    default="100MB",
    show_default=True,
    callback=_bytes,
    help="Input to copy at most, the oldest files first.",
)
@json_option
@pass_context
def prove(
    context: Context,
    name: str,
    kills: int,
    points: tuple[str, ...],
    seed: int | None,
    max_bytes: int,
    *,
    as_json: bool,
) -> None:
    """Kill NAME with SIGKILL at every step of its protocol, and compare the tables.

    It runs on a copy of its input, in a scratch home: your tables are not touched. Every killed
    run is started again until it is done; table, quarantine and late rows must then equal those
    of an undisturbed run, row for row. Exit code 1 unless they all do.
    """
    query = context.query(name)
    console = context.console(as_json=as_json)
    points = points or CRASH_POINTS
    total = len(points) + kills
    with console.status(f"{name}: an undisturbed run first …") as status:
        done: list[Kill] = []

        def started(proof: Proof) -> None:
            _introduce(console, proof)
            status.update(f"killing it {total} times …")

        def killed(kill: Kill) -> None:
            done.append(kill)
            status.update(f"killed and restarted {len(done)} of {total} times …")

        proof = prove_query(
            query,
            command(context.module, name),
            points=points,
            kills=kills,
            seed=seed,
            max_bytes=max_bytes,
            on_start=started,
            on_kill=killed,
        )
    if as_json:
        context.emit(proof.to_json())
    else:
        console.print(_table(proof))
        _conclude(console, proof)
    if not proof.passed:
        raise click.exceptions.Exit(EXIT_FAILED)


def _introduce(console: Console, proof: Proof) -> None:
    late = f", {count(proof.late, 'late row')}" if proof.late else ""
    console.print(
        f"Undisturbed: {count(proof.rows, 'row')}{late} and "
        f"{count(proof.quarantined, 'bad record')} from a copy of "
        f"{count(proof.files, 'file')} ({size(proof.bytes)}) in "
        f"{count(proof.batches, 'batch', 'batches')}"
    )
    if proof.left_out:
        console.print(
            f"  {count(proof.left_out, 'newer file')} left out; --max-bytes takes more",
            style="yellow",
        )


def _table(proof: Proof) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("killed")
    table.add_column("hit")
    table.add_column("recovered")
    table.add_column("rows", justify="right")
    table.add_column("quarantined", justify="right")
    if proof.late:
        table.add_column("late", justify="right")
    table.add_column("against the undisturbed run")
    for kill in proof.kills:
        verdict = kill.verdict if not kill.detail else f"{kill.verdict}: {shorten(kill.detail, 90)}"
        table.add_row(
            kill.point,
            "yes" if kill.killed else "no",
            "yes" if kill.recovered else "NO",
            f"{kill.rows:,}",
            f"{kill.quarantined:,}",
            *([f"{kill.late:,}"] if proof.late else []),
            verdict,
            style=None if kill.verdict == "identical" else "bold red",
        )
    return table


def _conclude(console: Console, proof: Proof) -> None:
    if proof.not_compared:
        console.print(f"  not compared, as they hold now(): {', '.join(proof.not_compared)}")
    hit = sum(kill.killed for kill in proof.kills)
    if proof.passed:
        console.print(
            f"Proved: killed {count(hit, 'time')}, and every row and every bad record is there "
            f"exactly once (seed {proof.seed})",
            style="bold green",
        )
        return
    wrong = [kill for kill in proof.kills if kill.verdict != "identical"]
    missed = [kill.point for kill in proof.kills if not kill.killed and kill.point in CRASH_POINTS]
    if missed:
        console.print(f"Never reached: {', '.join(missed)}", style="bold red")
    if wrong:
        console.print(
            f"NOT proved: {len(wrong)} of {len(proof.kills)} killed runs came out otherwise "
            f"(seed {proof.seed})",
            style="bold red",
        )
        for kill in wrong:
            console.print(f"  {kill.point}: {kill.detail}")
        console.print(
            "→ does a function in map_batches give other rows for the same input? Everything is "
            f"kept in {proof.scratch}"
        )
