"""``headwater match``: a copy against its table in a live database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import EXIT_FAILED
from orchestration.cli.context import Context, json_option, pass_context
from orchestration.cli.samples import show_samples
from orchestration.cli.words import count, nearest
from orchestration.errors import UnknownQuery

if TYPE_CHECKING:
    from rich.console import Console

    from orchestration.defs.matching import SourceCheck
    from orchestration.runtime.matching import SourceMatch

__all__ = ["match"]

_RANGES = 10


@click.command()
@click.argument("name", required=False)
@json_option
@pass_context
def match(context: Context, name: str | None, *, as_json: bool) -> None:
    """Compare copies of a database's tables with the tables as they are now; or NAME's alone.

    Changes that are on their way are left out. Exit code 1 unless everything is the same.
    """
    checks = _chosen(context, name)
    console = context.console(as_json=as_json)
    results = []
    for check in checks:
        with console.status(f"{check.name}: reading {check.table} …"):
            results.append(check.run())
        if not as_json:
            _show(console, check, results[-1])
    if as_json:
        items = [
            {"query": check.name, "table": check.table, **found.to_json()}
            for check, found in zip(checks, results, strict=True)
        ]
        context.emit(items[0] if name else items)
    if not all(found.passed for found in results):
        raise click.exceptions.Exit(EXIT_FAILED)


def _chosen(context: Context, name: str | None) -> list[SourceCheck]:
    from orchestration.defs.matching import SourceCheck

    if name is not None:
        context.query(name)  # says which there are
    list(context.queries)  # imports the module
    found: dict[str, SourceCheck] = {}
    for place, module in list(sys.modules.items()):
        if place == context.module or place.startswith(f"{context.module}."):
            for value in vars(module).values():
                if isinstance(value, SourceCheck):
                    found.setdefault(value.name, value)
    if name is None and found:
        return list(found.values())
    if name in found:
        return [found[name]]
    raise UnknownQuery(
        f"module {context.module!r} declares no matches_source(...) for "
        + (repr(name) if name else "any query"),
        remedy=nearest(name or "", found)
        or "declare one: NAME_matches = matches_source(NAME, source, 'schema.table')",
    )


def _show(console: Console, check: SourceCheck, found: SourceMatch) -> None:
    lead = {"identical": "the same", "different": "DIFFERENT"}.get(found.outcome, "not comparable")
    style = {"identical": "bold green", "different": "bold red"}.get(found.outcome, "bold yellow")
    console.print(f"{check.name}: {lead}: {found.reason}", style=style)
    for item in found.differing[:_RANGES]:
        console.print(
            f"  keys {item.first} to {item.last}: {count(item.source_rows, 'row')} at the source, "
            f"{item.copy_rows:,} in the copy"
        )
    show_samples(console, found.samples)
