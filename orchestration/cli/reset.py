"""``headwater reset``: a new life from nothing."""

from __future__ import annotations

import sys
import uuid

import click

from orchestration.cli.context import Context, name_argument, pass_context
from orchestration.cli.words import count
from orchestration.redaction import redact
from orchestration.runtime.reset import reset as reset_query
from orchestration.runtime.status import status

__all__ = ["reset"]


@click.command()
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def reset(context: Context, name: str, *, yes: bool) -> None:
    """Empty the tables of NAME and forget what it read; the next run reads everything again.

    The table, its quarantine and its history of versions stay: only the rows go, in one commit
    that readers see at once.
    """
    query = context.query(name)
    console = context.console()
    with query.open() as session:
        state = status(session)
        replaces = query.sink.mode != "append"
        rows = "" if replaces else f" ({count(state.rows, 'row')})"
        what = (
            f"{redact(state.tables['sink'])}{rows} and its quarantine "
            f"({count(state.rows_quarantined, 'record')}) will be emptied"
        )
        if "late" in state.tables:
            what += ", its late rows too, and its state forgotten"
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(f"{what}. Nobody is there to ask; say --yes.")
            click.confirm(f"{what}. Go on?", abort=True)
        generation = reset_query(session, f"reset-{uuid.uuid4()}")
    console.print(
        f"{name} starts anew as generation {generation.number}; its tables are empty. "
        f"Next: headwater run {name} reads everything again"
    )
