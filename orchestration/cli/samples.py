"""Rows that differ, as people look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from orchestration.cli.words import shorten

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

__all__ = ["show_samples"]

_COLUMNS = 8  # of a sample row; more do not fit beside each other


def show_samples(console: Console, rows: pa.Table | None, title: str | None = None) -> None:
    """Print some rows, if there are any, their first columns and each value shortened."""
    if rows is None or not rows.num_rows:
        return
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    shown = rows.column_names[:_COLUMNS]
    for column in shown:
        table.add_column(column)
    for row in rows.select(shown).to_pylist():
        table.add_row(*(shorten(str(value), 30) for value in row.values()))
    console.print(table)
