"""What is known of a stream at one point: its columns, and which of them are event time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.errors import ExpressionError, SchemaError
from orchestration.streams.parsing import parse_expression
from orchestration.streams.references import plain_reference
from orchestration.streams.schema import field_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlglot import exp

    from orchestration.streams.columns import Columns

__all__ = ["Scope", "TimeColumn", "bare_column", "check_time", "column_name"]

TIMESTAMPTZ = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column that is event time.

    Attributes:
        name: The column.
        kind: ``time`` is a row's own moment, the others are bounds of its window.
        delay_us: Delay of its watermark; ``None`` for a window of rows without a watermark.
    """

    name: str
    kind: Literal["time", "window_start", "window_end"] = "time"
    delay_us: int | None = None

    @property
    def closes(self) -> bool:
        """Whether what belongs to its value is over once the watermark has reached it."""
        return self.delay_us is not None and self.kind != "window_start"


@dataclass(frozen=True, slots=True)
class Scope:
    """One point of a stream.

    Attributes:
        columns: ``None`` as long as they depend on a schema that is not known.
        times: Columns that are event time, the one that counts first.
        types: Column in lower case to DuckDB type, as far as it can be told from an expression.
        stateful: Names of the stateful operators before it: ``aggregate``, ``apply``, ...
        measured: Whether a ``with_watermark`` stands before it.
        static: Whether no source is before it.
    """

    columns: Columns | None
    times: tuple[TimeColumn, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    stateful: tuple[str, ...] = ()
    measured: bool = False
    static: bool = False

    def time(self, name: str | None) -> TimeColumn | None:
        """The event-time column of that name, if it is one."""
        if name is None:
            return None
        return next((item for item in self.times if item.name.lower() == name.lower()), None)

    @property
    def closing(self) -> TimeColumn | None:
        """The event-time column with a watermark that counts; ``None`` without one."""
        return next((item for item in self.times if item.closes), None)

    @property
    def window_end(self) -> TimeColumn | None:
        """The end of the window that its rows are, if they are windows."""
        return next((item for item in self.times if item.kind == "window_end"), None)

    def then(self, **changes: Any) -> Scope:
        """The same with other attributes."""
        return replace(self, **changes)

    def selected(self, columns: Iterable[tuple[str, str]], output: Columns | None) -> Scope:
        """After a select of names and expressions."""
        times: list[TimeColumn] = []
        types: dict[str, str] = {}
        for name, text in columns:
            item = self.time(bare_column(text))
            if item is not None:
                times.append(replace(item, name=name))
            kind = self.type_of(text)
            if kind is not None:
                types[name.lower()] = kind
        # The order of what counts is that of before, not that of the select.
        ranked = [(self._rank(text), name.lower()) for name, text in columns]
        order = [name for _, name in sorted(ranked, key=lambda item: item[0])]
        times.sort(key=lambda item: order.index(item.name.lower()))
        return self.then(columns=output, times=tuple(times), types=types)

    def starred(self, named: Iterable[tuple[str, str]], stars: Iterable[str]) -> Scope:
        """After a select with a star that cannot be spelled out yet.

        Args:
            named: Names and expressions beside the star.
            stars: The texts with a star.
        """
        written = {name.lower() for name, _ in named}
        excluded = " ".join(stars).lower()
        kept = [
            item
            for item in self.times
            if item.name.lower() not in written and item.name.lower() not in excluded
        ]
        beside = self.selected(named, None)
        return beside.then(times=(*kept, *beside.times))

    def type_of(self, text: str) -> str | None:
        """The DuckDB type of an expression, where it can be told without an engine."""
        tree = parse_expression(text).tree
        reference = plain_reference(tree)
        if reference is None:
            return _guess(tree)
        if self.columns is None or len(reference.parts) > 1 or reference.star:
            return None
        name = reference.parts[0]
        if name.lower() in self.types:
            return self.types[name.lower()]
        known = self.columns.field_of(name) if name in self.columns else None
        if known is None:
            return None
        try:
            return field_type(known)
        except SchemaError:
            return "TIMESTAMP" if pa.types.is_timestamp(known.type) else str(known.type)

    def _rank(self, text: str) -> int:
        name = bare_column(text)
        names = [item.name.lower() for item in self.times]
        return names.index(name.lower()) if name and name.lower() in names else len(names)


def bare_column(text: str) -> str | None:
    """The column that an expression is, if it is nothing but that.

    >>> bare_column('"my col"'), bare_column("device.os"), bare_column("a + 1")
    ('my col', None, None)

    Raises:
        ExpressionError: It does not parse.
    """
    reference = plain_reference(parse_expression(text).tree)
    if reference is None or len(reference.parts) > 1 or reference.star:
        return None
    return reference.parts[0]


def column_name(text: object, columns: Columns | None, place: str, *, instead: str) -> str:
    """The column that a user named, as it is spelled in the table.

    Args:
        text: What the user wrote: a name, in double quotes or not.
        columns: What there is; ``None`` while unknown.
        place: Where it stands, for messages.
        instead: What to write where an expression is meant.

    Raises:
        ExpressionError: It is not a column.
    """
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError(
            f"{place}({text!r}): a column is named by a text", remedy='write e.g. "ts"'
        )
    if columns is not None and text in columns:
        return _spelled(text, columns)
    name = bare_column(text)
    if name is None:
        raise ExpressionError(
            f"{place}({text!r}): a column is expected, and this is an expression", remedy=instead
        )
    if columns is None:
        return name
    if name not in columns:
        raise ExpressionError(
            f'{place}({text!r}): there is no column "{name}"{columns.suggestion(name)}. '
            f"Columns: {columns.listing()}",
            remedy="write one of these columns",
        )
    return _spelled(name, columns)


def check_time(text: str, scope: Scope, place: str) -> None:
    """Refuse event time that is plainly no moment.

    Args:
        text: Its expression.
        scope: What it is over.
        place: Where it stands, for messages.

    Raises:
        ExpressionError: Its type is known, and is not TIMESTAMPTZ.
    """
    kind = scope.type_of(text)
    if kind is None or kind == "TIMESTAMPTZ":
        return
    name = bare_column(text) or "ts"
    if kind == "TIMESTAMP":
        reason = "; without a zone it is another moment on every machine"
        made = f"{text} AT TIME ZONE 'UTC'"
    elif kind in {"VARCHAR", "JSON", "DATE"}:
        reason, made = "", f"CAST({text} AS TIMESTAMPTZ)"
    else:
        reason, made = "", f"to_timestamp({text})"
    more = " (seconds since 1970)" if made.startswith("to_timestamp") else ""
    raise ExpressionError(
        f"{place}({text!r}): event time is a TIMESTAMPTZ, and this is {kind}{reason}",
        remedy=f'make it one before: .select("*", {name}="{made}"){more}',
    )


def _spelled(name: str, columns: Columns) -> str:
    return next(item for item in columns if item.lower() == name.lower())


def _guess(tree: exp.Expr) -> str | None:
    from sqlglot import exp

    while isinstance(tree, exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Cast):
        to = tree.args.get("to")
        name = to.this.name if isinstance(to, exp.DataType) and hasattr(to.this, "name") else ""
        known = {"TEXT": "VARCHAR", "TIMESTAMPNTZ": "TIMESTAMP", "DATETIME": "TIMESTAMP"}
        return known.get(name, name) or None
    if isinstance(tree, exp.StrToTime) or tree.name.lower() in {"strptime", "try_strptime"}:
        return "TIMESTAMP"
    if isinstance(tree, exp.Literal):
        return "VARCHAR" if tree.is_string else "DOUBLE"
    return None
