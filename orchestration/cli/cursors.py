"""``headwater cursors``: where state lives, and how to get it back."""

from __future__ import annotations

import click

from orchestration.cli.context import Context, json_option, pass_context
from orchestration.cli.words import count, details
from orchestration.clock import SystemClock
from orchestration.config import Settings
from orchestration.cursors.store import CursorStore
from orchestration.errors import CursorStoreLost, UnknownQuery
from orchestration.redaction import redact
from orchestration.runtime.rebuild import rebuild as rebuild_query

__all__ = ["cursors"]


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def cursors(ctx: click.Context, *, as_json: bool) -> None:
    """Show where cursor store, state and tables live."""
    if ctx.invoked_subcommand is not None:
        return
    context: Context = ctx.obj
    settings = Settings.load()
    with CursorStore.open(settings.cursors_url, clock=SystemClock()) as store:
        generations = store.queries.all()
        found = {
            "cursors": store.url_redacted,
            "schema_version": store.schema_version,
            "store_id": store.store_id,
            "home": str(settings.home),
            "state": redact(settings.state),
            "tables": redact(settings.tables),
            "scratch": str(settings.scratch),
            "queries": {
                item.query_id: {
                    "generation": item.number,
                    "status": item.status,
                    "batches": store.batches.count(item),
                }
                for item in generations
                if item.status != "retired"
            },
        }
    if as_json:
        context.emit(found)
        return
    console = context.console()
    rows = [
        ("cursor store", found["cursors"]),
        ("schema version", found["schema_version"]),
        ("plans and seals", found["state"]),
        ("tables", found["tables"]),
        ("queries", ", ".join(found["queries"]) or "none yet"),
    ]
    console.print(details(rows))
    console.print("Lost it, or brought back an older copy? → headwater cursors rebuild")


@cursors.command()
@click.argument("name", required=False)
@pass_context
def rebuild(context: Context, name: str | None) -> None:
    """Enter what the cursor store lost, from the plans and seals beside the state.

    Of NAME, or of every query of the module. Doing it for nothing changes nothing.
    """
    console = context.console()
    queries = [context.query(name)] if name else list(context.queries.values())
    for query in queries:
        try:
            with query.open() as session:
                report = rebuild_query(session)
        except (UnknownQuery, CursorStoreLost):
            if name:
                raise
            console.print(f"{query.name}: no plan of it in the state directory; it never ran here")
            continue
        console.print(
            f"{query.name}: {count(report.batches, 'batch', 'batches')} entered; generation "
            f"{report.generation.number} knows {count(report.files, 'file')}"
        )
        for left_out in report.ignored:
            console.print(f"  left out: {left_out}", style="yellow")
        left = "" if report.unfinished is None else f" finishes batch {report.unfinished} and"
        console.print(f"  Next: headwater run {query.name}{left} goes on where the table stands")
