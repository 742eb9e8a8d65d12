"""``headwater retry`` and ``headwater skip``: a person decides on a blocked batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli.context import Context, name_argument, pass_context
from orchestration.cli.words import count
from orchestration.runtime import blocked

if TYPE_CHECKING:
    from orchestration.cursors.records import BatchRecord

__all__ = ["retry", "skip"]


@click.command()
@name_argument
@pass_context
def retry(context: Context, name: str) -> None:
    """Unblock the batch in hand of NAME: the next run tries the same range again."""
    with context.query(name).open() as session:
        record = blocked.retry(session)
    context.console().print(
        f"Batch {record.plan.batch_id} ({_files(record)}) will be tried again. "
        f"Next: headwater run {name}"
    )


@click.command()
@name_argument
@click.option(
    "--to-quarantine",
    is_flag=True,
    required=True,
    help="Set its files aside there, whole and unread. Nothing is thrown away.",
)
@pass_context
def skip(context: Context, name: str, *, to_quarantine: bool) -> None:
    """Set the files of NAME's failed batch aside in quarantine, and go on after them."""
    if not to_quarantine:
        raise click.UsageError(
            f"Say where to: headwater skip {name} --to-quarantine keeps the batch's files there."
        )
    with context.query(name).open() as session:
        record = blocked.skip_to_quarantine(session)
    context.console().print(
        f"Batch {record.plan.batch_id}: the next run sets {_files(record)} aside in quarantine "
        f"and goes on. Next: headwater run {name}"
    )


def _files(record: BatchRecord) -> str:
    return count(sum(len(part.files) for part in record.plan.slices), "file")
