"""What a stream starts with: a source, a static table, several streams, or two of them joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestration.errors import DeclarationError
from orchestration.streams.columns import Columns
from orchestration.streams.plan import SourceRoot, StaticRoot, UnionRoot
from orchestration.streams.schema import field_type
from orchestration.streams.scope import Scope, TimeColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from orchestration.streams.body import Body
    from orchestration.streams.plan import Root
    from orchestration.streams.source import StreamSource
    from orchestration.streams.static import StaticTable

__all__ = [
    "Input",
    "SourceInput",
    "StaticInput",
    "UnionInput",
    "check_inputs",
    "indented",
    "not_known",
]


class Input:
    """What a stream starts with, as far as it is known."""

    __slots__ = ()

    @property
    def scope(self) -> Scope:
        """What is known of its rows."""
        raise NotImplementedError

    @property
    def sources(self) -> tuple[StreamSource, ...]:
        """Sources below it, in order of appearance."""
        return tuple(source for body in self.bodies for source in body.start.sources)

    @property
    def statics(self) -> tuple[StaticTable, ...]:
        """Static tables below it, in order of appearance, each once."""
        found = [table for body in self.bodies for table in body.start.statics]
        return tuple(dict.fromkeys(found))

    @property
    def bodies(self) -> tuple[Body, ...]:
        """The streams it is made of."""
        return ()

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Name of source or static table to its columns, of those that are known."""
        return {name: schema for body in self.bodies for name, schema in body.start.schemas.items()}

    @property
    def inferred(self) -> tuple[str, ...]:
        """Names of sources whose columns are still to be inferred."""
        known = self.schemas
        return tuple(source.name for source in self.sources if source.name not in known)

    def bound(self, schemas: Mapping[str, pa.Schema]) -> Input:
        """The same over columns that are known now; by name of source or static table."""
        raise NotImplementedError

    def moved(self, sources: Mapping[str, StreamSource]) -> Input:
        """The same over other sources; by name of those that are replaced."""
        raise NotImplementedError

    def root(self) -> Root:
        """What the plan starts with.

        Raises:
            DeclarationError: Its columns are not known.
        """
        raise NotImplementedError

    def shown(self) -> str:
        """As it is written in Python."""
        raise NotImplementedError

    def described(self) -> list[dict[str, Any]]:
        """Its steps as JSON: of what it is made of, and how that is put together."""
        return []

    def volatile(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Columns (lower case to name) and conditions that depend on when a batch ran."""
        columns: dict[str, str] = {}
        filters: tuple[str, ...] = ()
        for item in self.bodies:
            more, conditions = item.volatile()
            columns |= more
            filters += conditions
        return columns, filters


@dataclass(frozen=True, slots=True, eq=False)
class SourceInput(Input):
    """A streaming source.

    Attributes:
        source: Where rows come from.
        schema: Its columns, once known.
    """

    source: StreamSource
    schema: pa.Schema | None

    @property
    def scope(self) -> Scope:
        """What is known of its rows."""
        return Scope(None if self.schema is None else Columns.from_schema(self.schema))

    @property
    def sources(self) -> tuple[StreamSource, ...]:
        """Sources below it."""
        return (self.source,)

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Columns that are known."""
        return {} if self.schema is None else {self.source.name: self.schema}

    def bound(self, schemas: Mapping[str, pa.Schema]) -> SourceInput:
        """The same over columns that are known now."""
        return replace(self, schema=schemas.get(self.source.name, self.schema))

    def moved(self, sources: Mapping[str, StreamSource]) -> SourceInput:
        """The same over other sources."""
        other = sources.get(self.source.name)
        return self if other is None else SourceInput(other, other.schema)

    def root(self) -> SourceRoot:
        """What the plan starts with."""
        if self.schema is None:
            raise not_known(self)
        return SourceRoot(self.source.name, self.schema)

    def shown(self) -> str:
        """As it is written in Python."""
        return f"stream({self.source!r})"


@dataclass(frozen=True, slots=True, eq=False)
class StaticInput(Input):
    """A static table."""

    table: StaticTable

    @property
    def scope(self) -> Scope:
        """What is known of its rows."""
        schema = self.table.schema
        return Scope(None if schema is None else Columns.from_schema(schema), static=True)

    @property
    def statics(self) -> tuple[StaticTable, ...]:
        """Static tables below it."""
        return (self.table,)

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """Columns that are known."""
        return {} if self.table.schema is None else {self.table.name: self.table.schema}

    def bound(self, schemas: Mapping[str, pa.Schema]) -> StaticInput:
        """The same over columns that are known now."""
        schema = schemas.get(self.table.name)
        return self if schema is None else StaticInput(self.table.bound(schema))

    def moved(self, sources: Mapping[str, StreamSource]) -> StaticInput:
        """The same over other sources."""
        del sources
        return self

    def root(self) -> StaticRoot:
        """What the plan starts with."""
        if self.table.schema is None:
            raise not_known(self)
        return StaticRoot(self.table.name, self.table.schema)

    def shown(self) -> str:
        """As it is written in Python."""
        return repr(self.table)


@dataclass(frozen=True, slots=True, eq=False)
class UnionInput(Input):
    """All rows of several streams."""

    inputs: tuple[Body, ...]

    @property
    def bodies(self) -> tuple[Body, ...]:
        """The streams it is made of."""
        return self.inputs

    @property
    def scope(self) -> Scope:
        """What is known of its rows."""
        scopes = [item.scope for item in self.inputs]
        first = scopes[0]
        times: list[TimeColumn] = []
        for item in first.times:
            same = [scope.time(item.name) for scope in scopes]
            if all(other is not None and other.kind == item.kind for other in same):
                delays = [other.delay_us for other in same if other is not None]
                known = [delay for delay in delays if delay is not None]
                times.append(
                    replace(item, delay_us=max(known) if len(known) == len(delays) else None)
                )
        known_columns = all(scope.columns is not None for scope in scopes)
        return Scope(
            first.columns if known_columns else None,
            tuple(item for item in times if item.kind != "time" or item.delay_us is not None),
            {
                name: kind
                for name, kind in first.types.items()
                if all(scope.types.get(name) == kind for scope in scopes)
            },
            tuple(name for scope in scopes for name in scope.stateful),
            any(scope.measured for scope in scopes),
            first.static,
        )

    def bound(self, schemas: Mapping[str, pa.Schema]) -> UnionInput:
        """The same over columns that are known now."""
        return UnionInput(tuple(item.bound(schemas) for item in self.inputs)).checked()

    def moved(self, sources: Mapping[str, StreamSource]) -> UnionInput:
        """The same over other sources."""
        return UnionInput(tuple(item.moved(sources) for item in self.inputs)).checked()

    def checked(self) -> UnionInput:
        """Itself, if its streams go together.

        Raises:
            DeclarationError: They do not.
        """
        check_inputs("union", self.inputs)
        first = self.inputs[0]
        for number, other in enumerate(self.inputs[1:], start=2):
            if first.is_static != other.is_static:
                raise DeclarationError(
                    "union: a stream and a static table do not go together: the table's rows "
                    "would come anew with every batch",
                    remedy="put the table's rows into the stream's source once, or join the table",
                )
            _check_same(first.scope, other.scope, number)
        return self

    def root(self) -> UnionRoot:
        """What the plan starts with."""
        return UnionRoot(tuple(item.chain() for item in self.inputs))

    def shown(self) -> str:
        """As it is written in Python."""
        first, *others = [item.shown() for item in self.inputs]
        return f"{first}\n  .union({', '.join(map(indented, others))})"

    def described(self) -> list[dict[str, Any]]:
        """Its steps as JSON."""
        first, *others = self.inputs
        return [*first.described(), {"union": [item.described_part() for item in others]}]


def check_inputs(verb: str, bodies: tuple[Body, ...]) -> None:
    """Refuse streams whose names meet, or whose columns are still to be inferred.

    Raises:
        DeclarationError: They cannot stand in one query.
    """
    seen: dict[str, object] = {}
    sources = [source for item in bodies for source in item.start.sources]
    for source in sources:
        if source.name in seen:
            raise DeclarationError(
                f'{verb}: two sources are called "{source.name}", and offsets are kept under the '
                "name",
                remedy=f'give one of them another: name="{source.name}_2"; a source that is read '
                "twice is declared twice",
            )
        seen[source.name] = source
    for item in bodies:
        for table in item.start.statics:
            if seen.get(table.name, table) != table:
                raise DeclarationError(
                    f'{verb}: two tables, or a source and a table, are called "{table.name}"',
                    remedy=f'give one of them another: static(..., name="{table.name}_2")',
                )
            seen[table.name] = table
    if len(sources) < 2:
        return
    for item in bodies:
        missing = item.start.inferred
        if missing:
            raise DeclarationError(
                f'{verb}: the schema of source "{missing[0]}" is to be inferred, which works for '
                "a query of one source only",
                remedy='declare it: files(..., schema={"page": "VARCHAR"}); headwater plan shows '
                "what a query of this source alone infers",
            )


def indented(text: str) -> str:
    """A stream's text inside another's."""
    return text.replace("\n", "\n    ")


def not_known(start: Input) -> DeclarationError:
    """Columns are needed that are not known yet."""
    known = start.schemas
    names = [
        *(f'source "{item.name}"' for item in start.sources if item.name not in known),
        *(f'static table "{item.name}"' for item in start.statics if item.name not in known),
    ]
    return DeclarationError(
        f"the columns of {', '.join(names) or 'the stream'} are not known yet, so what depends on "
        "them cannot be spelled out",
        remedy="bind the stream to the inferred schema first, or declare the schema",
    )


def _check_same(first: Scope, other: Scope, number: int) -> None:
    if first.columns is None or other.columns is None:
        return
    names = [name.lower() for name in first.columns]
    if names != [name.lower() for name in other.columns]:
        raise DeclarationError(
            f"union: the first stream has the columns {first.columns.listing()}; stream {number} "
            f"has {other.columns.listing()}",
            remedy="select the same columns in the same order on both: "
            f".select({', '.join(repr(name) for name in first.columns)})",
        )
    for name in first.columns:
        one, two = first.columns.field_of(name), other.columns.field_of(name)
        if one is not None and two is not None and field_type(one) != field_type(two):
            raise DeclarationError(
                f'union: column "{name}" is {field_type(one)} in the first stream and '
                f"{field_type(two)} in stream {number}",
                remedy=f'cast it: .select("*", {name}="CAST({name} AS {field_type(one)})")',
            )
