"""The command itself: its subcommands, loaded when they are called, and its exit codes.

==== ==============================================================================
0    done, also when there was nothing to do
1    failed, or proved different
2    the command line, a setting or the query's name is wrong
3    refused before anything was written: already running, blocked, incompatible
==== ==============================================================================
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from orchestration.cli.context import Context
from orchestration.errors import ConfigError, HeadwaterError, Refused, UnknownQuery

__all__ = ["EXIT_FAILED", "EXIT_REFUSED", "EXIT_USAGE", "group", "main"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3

# Help texts stand here, so that `headwater --help` imports nothing of what the commands need.
_COMMANDS = {
    "demo": ("demo", "See it all in a minute: batches, a crash, a proof, what it saves."),
    "plan": ("plan", "What the next batches would read; nothing is written."),
    "run": ("run", "Run batches until nothing is left, or as --trigger says."),
    "status": ("status", "Where every query stands, and what it has cost."),
    "history": ("history", "The batches so far, the newest first."),
    "quarantine": ("quarantine", "Records that could not be read: where, why, and their text."),
    "watermark": ("watermark", "How far event time has come, and what holds it there."),
    "late": ("late", "Rows that came after their window had closed, and how late."),
    "state": ("state", "What a query keeps between its batches."),
    "flush": ("flush", "Close what is still open at the end of a feed, once."),
    "verify": ("verify", "Reprocess everything, and compare: incremental = full."),
    "match": ("match", "Compare copies with the tables of a live database, as they are now."),
    "prove": ("prove", "Kill it at every step on a copy of its input, and compare the tables."),
    "maintain": ("maintain", "Keep tables small: pack files, delete what nobody needs any more."),
    "reset": ("reset", "Start a query anew: empty its tables, forget what it read."),
    "retry": ("blocked", "Try a blocked batch again."),
    "skip": ("blocked", "Set a blocked batch's files aside in quarantine, and go on."),
    "cursors": ("cursors", "Where state lives; rebuild a lost cursor store."),
    "dev": ("dev", "Open Dagster on this home."),
    "dev-postgres": ("dev_postgres", "The same beside a private PostgreSQL that a shop writes to."),
}


class _Commands(click.Group):
    """Imports a subcommand when it is called, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        found = import_module(f"orchestration.cli.{module}")
        command: click.Command = getattr(found, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from orchestration.cli.words import nearest

            hint = nearest(args[0], _COMMANDS)
            ctx.fail(f"There is no command {args[0]!r}. {hint or 'See headwater --help.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HeadwaterError as error:
            if _debug(ctx):
                raise
            _say(f"{type(error).__name__}: {error}")
            ctx.exit(exit_code(error))
        except BrokenPipeError:
            # `headwater history x | head`: whoever read has enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except KeyboardInterrupt:
            _say("stopped; the next run goes on where this one was")
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if _debug(ctx):
                raise
            _say(
                f"unexpected {type(error).__name__}: {error}\n"
                "  → 'headwater --debug …' shows where; the next run goes on where this one was"
            )
            ctx.exit(EXIT_FAILED)


def exit_code(error: HeadwaterError) -> int:
    """What the command ends with on this error."""
    if isinstance(error, Refused):
        return EXIT_REFUSED
    return EXIT_USAGE if isinstance(error, UnknownQuery | ConfigError) else EXIT_FAILED


def _debug(ctx: click.Context) -> bool:
    return isinstance(ctx.obj, Context) and ctx.obj.debug


def _say(message: str) -> None:
    from orchestration.redaction import redact

    lead = click.style("headwater: ", fg="red", bold=True)
    click.echo(lead + redact(message), err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-m",
    "--module",
    default="assets",
    show_default=True,
    metavar="MODULE",
    help="Module or package that declares the queries.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="headwater", prog_name="headwater")
@click.pass_context
def group(ctx: click.Context, module: str, *, debug: bool) -> None:
    """Incremental Delta tables, exactly once: Structured Streaming's promises in one process.

    New here? 'headwater demo' shows it all in a minute. Then: plan, run, status.
    """
    ctx.obj = Context(module, debug=debug)


def main() -> None:
    """Entry point of the console command."""
    group.main(prog_name="headwater")
