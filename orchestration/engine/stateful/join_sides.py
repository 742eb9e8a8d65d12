"""The sides of a join: their keys, when their rows are late, and when they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestration.engine.stateful.keyed import EXPIRY, HASH, key_hash
from orchestration.state.manifest import NEVER
from orchestration.streams.batch_time import bind_batch_timestamp
from orchestration.streams.quoting import quote_identifier
from orchestration.streams.schema import duckdb_type

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.relation import Relation
    from orchestration.streams.plan import JoinRoot, JoinSide

__all__ = ["Side", "matching_condition", "output_of", "sides_of"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a join in one batch.

    Attributes:
        name: Which.
        declared: What the plan says of it.
        relation: Its rows.
        keys: Columns of the keys, quoted: its own, or computed ones.
        computed: Names of computed key columns, and their SQL over its own columns.
        late_id: Its rows that come too late are kept under this.
        lag: By how much its watermark is behind the query's, microseconds.
    """

    name: Literal["left", "right"]
    declared: JoinSide
    relation: Relation
    keys: tuple[str, ...]
    computed: tuple[tuple[str, str], ...]
    late_id: str
    lag: int

    @property
    def alias(self) -> str:
        """What conditions call it."""
        return self.name[0]

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.relation.schema

    @property
    def computed_columns(self) -> list[str]:
        """Its computed keys, for a SELECT over its rows."""
        return [f"{text} AS {name}" for name, text in self.computed]

    @property
    def expires(self) -> str:
        """SQL of when a row leaves the state; null where its event time is."""
        expression = self.declared.expiry_expression
        return str(NEVER) if expression is None else f"CAST((\n{expression}\n) AS BIGINT)"

    @property
    def late_us(self) -> str:
        """SQL of the moment that must be after the watermark; null where nothing is late."""
        text = self.declared.late_expression
        if text is None and self.declared.event_column is not None:
            text = quote_identifier(self.declared.event_column)
        return "CAST(NULL AS BIGINT)" if text is None else f"epoch_us(\n{text}\n)"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns and computed keys: what its state has of a row."""
        return (*self.schema.names, *(name for name, _ in self.computed))

    @property
    def listed(self) -> str:
        """All columns, computed keys, expiry and hash, for a SELECT over its rows.

        Types are those that outlast a file: a HUGEINT would come back as a DOUBLE.
        """
        own = [
            f"CAST({quote_identifier(item.name)} AS {duckdb_type(item.type)}) "
            f"AS {quote_identifier(item.name)}"
            for item in self.schema
        ]
        texts = dict(self.computed)
        hashed = key_hash([f"({texts.get(name, name)})" for name in self.keys])
        expires = f"coalesce({self.expires}, {NEVER}) AS {EXPIRY}"
        return ", ".join([*own, *self.computed_columns, expires, f"{hashed} AS {HASH}"])

    @property
    def can_match(self) -> str:
        """SQL of whether a row can ever meet another: a null key or event time does not."""
        known = [f"{name} IS NOT NULL" for name in self.keys]
        if self.declared.expiry_expression is not None:
            known.append(f"({self.expires}) IS NOT NULL")
        return " AND ".join(known) or "true"

    def nulls(self) -> str:
        """A SELECT of one row of nulls in its place."""
        return f"SELECT {_nulls(self.schema)}"


def sides_of(
    execution: Execution, root: JoinRoot, left: Relation, right: Relation
) -> tuple[Side, Side]:
    """Both sides, with keys that have one type on both.

    The watermark that the join sees is that of the slower side, as an operator has one.
    """
    timestamp = execution.job.timestamp
    texts = [
        [bind_batch_timestamp(text, timestamp) for text in side.keys]
        for side in (root.left, root.right)
    ]
    types = _common_types(execution, left.schema, right.schema, texts[0], texts[1])
    lag = max(execution.lag(side.chain.root) for side in (root.left, root.right))
    made = []
    for name, declared, relation, given in (
        ("left", root.left, left, texts[0]),
        ("right", root.right, right, texts[1]),
    ):
        own = {quote_identifier(item.name): item for item in relation.schema}
        own |= {item.name: item for item in relation.schema}
        keys, computed = [], []
        for number, (text, kind) in enumerate(zip(given, types, strict=True)):
            column = own.get(text.strip())
            if column is not None and kind is None:
                keys.append(quote_identifier(column.name))
                continue
            key = f"headwater_k{number}"
            value = f"(\n{text}\n)" if kind is None else f"CAST((\n{text}\n) AS {kind})"
            keys.append(key)
            computed.append((key, value))
        made.append(
            Side(
                "left" if name == "left" else "right",
                declared,
                relation,
                tuple(keys),
                tuple(computed),
                f"{root.id}.{name}",
                lag,
            )
        )
    return made[0], made[1]


def matching_condition(execution: Execution, root: JoinRoot, sides: tuple[Side, Side]) -> str:
    """SQL of what must hold of a pair of rows ``l`` and ``r``."""
    left, right = sides
    terms = [f"l.{own} = r.{other}" for own, other in zip(left.keys, right.keys, strict=True)]
    if root.condition is not None:
        bound = bind_batch_timestamp(root.condition, execution.job.timestamp)
        terms.append(f"(\n{bound}\n)")
    return " AND ".join(terms) or "true"


def output_of(root: JoinRoot) -> str:
    """The result's columns over ``l`` and ``r``, for a SELECT."""
    return ", ".join(f"(\n{text}\n) AS {quote_identifier(name)}" for name, text in root.columns)


def _common_types(
    execution: Execution,
    left: pa.Schema,
    right: pa.Schema,
    left_keys: list[str],
    right_keys: list[str],
) -> list[str | None]:
    """The type that both keys of a pair are cast to; ``None`` where they have one type.

    Equal values must have equal hashes, and those of an INTEGER and a BIGINT differ.
    """
    if not left_keys:
        return []
    ours = ", ".join(f"(\n{text}\n) AS a{number}" for number, text in enumerate(left_keys))
    others = ", ".join(f"(\n{text}\n) AS b{number}" for number, text in enumerate(right_keys))
    count = range(len(left_keys))
    kinds = ", ".join(f"a{n}, b{n}, CASE WHEN true THEN a{n} ELSE b{n} END" for n in count)
    found = execution.tables.connection.sql(
        f"SELECT {kinds} FROM (SELECT {ours} FROM (SELECT {_nulls(left)})), "
        f"(SELECT {others} FROM (SELECT {_nulls(right)}))"
    ).types
    return [
        None if str(found[3 * n]) == str(found[3 * n + 1]) else str(found[3 * n + 2]) for n in count
    ]


def _nulls(schema: pa.Schema) -> str:
    return ", ".join(
        f"CAST(NULL AS {duckdb_type(item.type)}) AS {quote_identifier(item.name)}"
        for item in schema
    )
