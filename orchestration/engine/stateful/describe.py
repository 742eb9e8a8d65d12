"""What columns a logical plan makes, asked of DuckDB before any row is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestration.engine.describing import describe_one, refused
from orchestration.engine.result_types import result_field
from orchestration.engine.stateful.aggregation import AggregationSql, argument_texts
from orchestration.engine.stateful.sessions import sessions_of
from orchestration.engine.statements import INPUT
from orchestration.errors import ExpressionError, SchemaError
from orchestration.streams.batch_time import bind_batch_timestamp
from orchestration.streams.operators import (
    Aggregate,
    ApplyChanges,
    ApplyWithState,
    MapBatches,
    Select,
    Where,
    WithWatermark,
)
from orchestration.streams.plan import Chain, JoinRoot, SourceRoot, StaticRoot, UnionRoot
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    import duckdb

    from orchestration.engine.connection import Limits
    from orchestration.streams.operators import Operator
    from orchestration.streams.plan import Root

__all__ = ["Describer"]

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class Describer:
    """Answers what columns there are after an operator, and remembers it.

    Args:
        limits: For its connection, which is opened with the first question.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._known: dict[Any, Any] = {}

    def chain(self, chain: Chain) -> pa.Schema:
        """Columns of a plan's result.

        Raises:
            ExpressionError: An expression does not bind; names it and the reason.
            SchemaError: A result has a type that no Delta table keeps.
        """
        schema = self.root(chain.root)
        for operator in chain.operators:
            schema = self.after(schema, operator)
        return schema

    def root(self, root: Root) -> pa.Schema:
        """Columns that a chain starts with."""
        if isinstance(root, SourceRoot | StaticRoot):
            return root.schema
        if isinstance(root, UnionRoot):
            return self._union(root)
        if root not in self._known:
            self._known[root] = self._join(root)
        found: pa.Schema = self._known[root]
        return found

    def after(self, schema: pa.Schema, operator: Operator) -> pa.Schema:
        """Columns after one operator."""
        if isinstance(operator, MapBatches):
            return operator.schema
        if isinstance(operator, ApplyWithState):
            return operator.output_schema
        if isinstance(operator, WithWatermark):
            _check_event_time(schema, operator)
        if not isinstance(operator, Where | Select | Aggregate | ApplyChanges):
            return schema
        key = (schema, operator)
        if key not in self._known:
            if isinstance(operator, Aggregate):
                self._known[key] = self._aggregate(schema, operator)
            elif isinstance(operator, ApplyChanges):
                self._known[key] = self._changes(schema, operator)
            else:
                self._known[key] = describe_one(self._open(), schema, operator)
        found: pa.Schema = self._known[key]
        return found

    def argument_types(self, schema: pa.Schema, operator: Aggregate) -> dict[str, pa.DataType]:
        """Types of what aggregates are over, by their SQL."""
        key = (schema, operator, "arguments")
        if key not in self._known:
            self._known[key] = self._arguments(schema, operator)
        found: dict[str, pa.DataType] = self._known[key]
        return found

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._known.clear()

    # -- kinds --------------------------------------------------------------------------------------

    def _arguments(self, schema: pa.Schema, operator: Aggregate) -> dict[str, pa.DataType]:
        import duckdb

        found: dict[str, pa.DataType] = {}
        with _Empty(self._open(), {INPUT: schema}) as connection:
            for text in argument_texts(operator):
                bound = bind_batch_timestamp(text, _ANY_TIME)
                try:
                    (kind,) = connection.sql(f"SELECT (\n{bound}\n) FROM {INPUT}").types
                except duckdb.Error as error:
                    raise refused(text, error) from None
                found[text] = _argument_type(text, kind)
        return found

    def _aggregate(self, schema: pa.Schema, operator: Aggregate) -> pa.Schema:
        import duckdb

        sql = AggregationSql(
            operator, self.argument_types(schema, operator), batch_id=0, timestamp=_ANY_TIME
        )
        rows = f"SELECT *, 0::BIGINT AS headwater_seq FROM {INPUT}"
        expanded = sql.expanded(f"({rows})")
        if sql.session is None:
            states = sql.merged(sql.made(expanded, closing=True))
        else:
            states = sessions_of(sql, expanded, closing=True)
        with _Empty(self._open(), {INPUT: schema}) as connection:
            try:
                found = connection.sql(sql.result(states))
                names, kinds = list(found.columns), list(found.types)
            except duckdb.Error as error:
                texts = ", ".join(text for _, text in operator.columns)
                raise refused(texts, error) from None
        fields: list[pa.Field[Any]] = []
        texts_of = dict(operator.columns)
        for name, kind in zip(names, kinds, strict=True):
            try:
                fields.append(result_field(name, kind))
            except SchemaError as error:
                raise ExpressionError(
                    f"{name} = {texts_of.get(name, name)}: {error.args[0]}", remedy=error.remedy
                ) from None
        return pa.schema(fields)

    def _changes(self, schema: pa.Schema, operator: ApplyChanges) -> pa.Schema:
        from orchestration.engine.changes.apply import table_schema

        spec = operator.spec
        if spec.delete_when is not None:
            describe_one(self._open(), schema, Where(spec.delete_when))
        kind = describe_one(self._open(), schema, Select((("s", spec.sequence),))).field("s").type
        if not _is_ordered(kind):
            raise SchemaError(
                f"sequence_by={spec.sequence}: a {kind} does not order changes exactly",
                remedy="order them by a whole number, a time, a date, a DECIMAL or a text; CAST it",
            )
        return table_schema(self._open(), spec, schema)

    def _union(self, root: UnionRoot) -> pa.Schema:
        first, *others = [self.chain(chain) for chain in root.inputs]
        for number, other in enumerate(others, start=2):
            if [(f.name.lower(), f.type) for f in other] != [
                (f.name.lower(), f.type) for f in first
            ]:
                raise SchemaError(
                    f"union: the first stream has {_listed(first)}, stream {number} has "
                    f"{_listed(other)}",
                    remedy="select the same columns of the same types in the same order on both",
                )
        return first

    def _join(self, root: JoinRoot) -> pa.Schema:
        import duckdb

        sides = {
            "headwater_l": self.chain(root.left.chain),
            "headwater_r": self.chain(root.right.chain),
        }
        with _Empty(self._open(), sides) as connection:
            condition = f"({root.condition})" if root.condition else ""
            listed = ", ".join(
                f"(\n{text}\n) AS {quote_identifier(name)}" for name, text in root.columns
            )
            query = (
                f"SELECT {listed} FROM headwater_l AS l "
                f"LEFT JOIN headwater_r AS r ON {condition or 'true'}"
            )
            try:
                found = connection.sql(query)
                kinds = list(found.types)
            except duckdb.Error as error:
                raise refused(root.condition or ", ".join(root.left.keys), error) from None
        return pa.schema(
            [result_field(name, kind) for (name, _), kind in zip(root.columns, kinds, strict=True)]
        )

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = self._limits.connect()
        return self._connection


class _Empty:
    """Empty tables under names, while a block runs."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, schemas: dict[str, pa.Schema]
    ) -> None:
        self._connection = connection
        self._schemas = schemas

    def __enter__(self) -> duckdb.DuckDBPyConnection:
        for name, schema in self._schemas.items():
            self._connection.register(name, schema.empty_table())
        return self._connection

    def __exit__(self, *_: object) -> None:
        for name in self._schemas:
            self._connection.unregister(name)


def _check_event_time(schema: pa.Schema, operator: WithWatermark) -> None:
    """Of a computed column the type is only known here."""
    for item in schema:
        if item.name.lower() == operator.column.lower() and item.type != pa.timestamp("us", "UTC"):
            raise ExpressionError(
                f"with_watermark({item.name!r}): event time is a TIMESTAMPTZ, and this is "
                f"{duckdb_type(item.type)}",
                remedy="compute one in select(...): to_timestamp(seconds), a CAST, or of a local "
                "time: time AT TIME ZONE 'UTC'",
            )


def _argument_type(text: str, kind: Any) -> pa.DataType:
    try:
        found: pa.DataType = result_field("value", kind).type
        return found
    except SchemaError as error:
        raise ExpressionError(f"{text}: {error.args[0]}", remedy=error.remedy) from None


def _is_ordered(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_temporal(kind)
        or pa.types.is_string(kind)
    )


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{item.name} {item.type}" for item in schema)
