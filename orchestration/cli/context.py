"""What every subcommand is given: the queries of the module, and where to write."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from orchestration.runtime.query import StreamingQuery

__all__ = ["Context", "json_option", "name_argument", "pass_context"]

_F = TypeVar("_F", bound=Callable[..., Any])


class Context:
    """One call of the command.

    Args:
        module: Module or package that declares the queries.
        debug: Whether errors are shown with their traceback.
    """

    def __init__(self, module: str, *, debug: bool = False) -> None:
        self.module = module
        self.debug = debug
        self._queries: Mapping[str, StreamingQuery] | None = None

    @property
    def queries(self) -> Mapping[str, StreamingQuery]:
        """Every query of the module, by name."""
        if self._queries is None:
            from orchestration.runtime.declared import find_queries

            self._queries = find_queries(self.module)
        return self._queries

    def query(self, name: str) -> StreamingQuery:
        """The query called ``name``.

        Raises:
            UnknownQuery: There is none; names the nearest.
        """
        from orchestration.runtime.declared import choose

        return choose(self.queries, name, self.module)

    def console(self, *, as_json: bool = False) -> Console:
        """Where people are told: standard output, or standard error when that is for JSON."""
        from orchestration.cli.words import new_console

        return new_console(stderr=as_json)

    def emit(self, value: Any) -> None:
        """Write one JSON document to standard output."""
        from orchestration.cli.words import to_json

        click.echo(json.dumps(value, default=to_json, ensure_ascii=False, indent=2))


pass_context = click.make_pass_decorator(Context)


def json_option(function: _F) -> _F:
    """``--json``: one JSON document on standard output, everything else on standard error."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(
        function
    )


def name_argument(function: _F) -> _F:
    """The query's name."""
    return click.argument("name", metavar="NAME")(function)
