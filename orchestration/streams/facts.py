"""What a stream knows of itself: its sources, its columns, its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from orchestration.errors import DeclarationError
from orchestration.streams.numbering import numbered
from orchestration.streams.pushdown import pushed

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.streams.body import Body
    from orchestration.streams.operators import StatelessOperator
    from orchestration.streams.plan import Chain
    from orchestration.streams.source import StreamSource
    from orchestration.streams.static import StaticTable

__all__ = ["StreamFacts"]


class StreamFacts:
    """Base of :class:`orchestration.streams.builder.Stream`: all of it but the verbs."""

    __slots__ = ("_body",)

    def __init__(self, body: Body) -> None:
        object.__setattr__(self, "_body", body)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a stream is immutable; its verbs give new ones ({name})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a stream is immutable; its verbs give new ones ({name})")

    @property
    def sources(self) -> tuple[StreamSource, ...]:
        """Where its rows come from, in order of appearance."""
        return self._body.start.sources

    @property
    def statics(self) -> tuple[StaticTable, ...]:
        """Static tables it is joined with, in order of appearance."""
        return self._body.start.statics

    @property
    def source(self) -> StreamSource:
        """Where its rows come from, if that is one source.

        Raises:
            DeclarationError: There are several, or none.
        """
        found = self._body.start.sources
        if len(found) == 1:
            return found[0]
        if not found:
            raise DeclarationError(
                "this stream has no source: it is over static tables alone",
                remedy="begin with stream(...), or use .statics",
            )
        names = ", ".join(f'"{item.name}"' for item in found)
        raise DeclarationError(
            f"this stream has {len(found)} sources: {names}", remedy="use .sources"
        )

    @property
    def input_schema(self) -> pa.Schema | None:
        """The one source's columns, once known; ``None`` also where there are several."""
        if len(self.sources) != 1:
            return None
        return self.input_schemas.get(self.source.name)

    @property
    def input_schemas(self) -> dict[str, pa.Schema]:
        """Name of source or static table to its columns, of those that are known."""
        return self._body.start.schemas

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of its columns in order; ``None`` as long as they depend on an unknown schema."""
        return self._body.columns

    @property
    def body(self) -> Body:
        """What it is made of."""
        return self._body

    @property
    def is_static(self) -> bool:
        """Whether it has no source: static tables alone."""
        return self._body.is_static

    @property
    def is_plain(self) -> bool:
        """Whether it is one source with operators that look at one row, and nothing else."""
        return self._body.is_plain

    @property
    def operators(self) -> tuple[StatelessOperator, ...]:
        """What an engine has to do, in order; stars are spelled out. Of a plain stream only.

        Raises:
            DeclarationError: A star cannot be spelled out before the schema is known, or the
                stream is not plain.
        """
        if not self.is_plain:
            raise DeclarationError(
                "this stream is more than operators over one source", remedy="use .plan()"
            )
        return cast("tuple[StatelessOperator, ...]", self._body.known_operators())

    def plan(self) -> Chain:
        """The logical plan, with ids, and conditions where they are applied.

        Raises:
            DeclarationError: Columns are not known yet.
        """
        return numbered(pushed(self._body.chain()))

    def volatile_columns(self) -> tuple[str, ...]:
        """Output columns that depend on when their batch ran: what no reprocess can repeat.

        After ``map_batches`` over such a column every column may depend on it.
        """
        return tuple(self._body.volatile()[0].values())

    def volatile_filters(self) -> tuple[str, ...]:
        """Conditions and keys that depend on when the batch ran: such rows cannot be repeated."""
        return self._body.volatile()[1]

    @property
    def where_is_volatile(self) -> bool:
        """Whether a condition depends on when the batch ran: no reprocess can be equal then."""
        return bool(self.volatile_filters())

    def describe(self) -> dict[str, Any]:
        """The stream as JSON, for plans and for people; no secrets, no schema it lacks."""
        found: dict[str, Any] = {}
        if len(self.sources) == 1:
            found["source"] = {"name": self.source.name, **self.source.describe()}
        else:
            found["sources"] = [{"name": item.name, **item.describe()} for item in self.sources]
        if self.statics:
            found["statics"] = [{"name": item.name, **item.describe()} for item in self.statics]
        found["operators"] = self._body.described()
        found["columns"] = None if self.columns is None else list(self.columns)
        return found

    def __repr__(self) -> str:
        columns = "to be inferred" if self.columns is None else ", ".join(self.columns)
        return f"{self._body.shown()}\n  -> {columns}"

    # Declared for the type checker; set once in __init__.
    _body: Body
