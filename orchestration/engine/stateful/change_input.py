"""A batch's rows as changes: kept once, and looked at before anything is written."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestration.engine.changes.apply import invalid_sql, read_changes
from orchestration.engine.quarantine import BadRecord
from orchestration.errors import BadRecords
from orchestration.sources.inputs import TableInput
from orchestration.streams.operators import SNAPSHOT
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from orchestration.engine.changes.apply import Changes
    from orchestration.engine.stateful.execution import Execution
    from orchestration.engine.stateful.relation import Relation
    from orchestration.streams.operators import ApplyChanges

__all__ = ["read_input"]

_SHOWN = 3  # of the changes that fail a batch
_PAGE = 10_000  # rows in memory at once


def read_input(
    execution: Execution, relation: Relation, operator: ApplyChanges, prefix: str
) -> Changes:
    """The batch's changes, without those that cannot be applied.

    Args:
        execution: The batch.
        relation: Its rows.
        operator: What they mean.
        prefix: Start of the names of what is made of them.

    Raises:
        BadRecords: A change has no key or no sequence, and its source has no quarantine.
    """
    tables = execution.tables
    if operator.left_out is not None:
        relation = relation.filtered(f"({operator.left_out}) IS NOT TRUE")
    mark = f", false AS {SNAPSHOT}" if operator.snapshots else ""
    rows = tables.create(f"SELECT {relation.listed()}{mark} FROM ({relation.sql})")
    execution.measure(rows, relation.measured)
    if operator.snapshots:
        sequence = operator.spec.sequence
        tables.connection.execute(
            f"INSERT INTO {rows} SELECT DISTINCT ON ({sequence}) * REPLACE (true AS {SNAPSHOT}) "
            f"FROM {rows} WHERE ({sequence}) IS NOT NULL"
        )
    invalid = tables.create(_invalid(execution, relation, operator, rows))
    count = int(tables.value(f"SELECT count(*) FROM {invalid}"))
    if count:
        _set_aside(execution, relation, operator, invalid, count)
        # Null is what makes them invalid, so they are found again by that.
        valid = tables.create(
            f"SELECT * FROM {rows} EXCEPT ALL SELECT * EXCLUDE (__reason) FROM {invalid}"
        )
        tables.drop(rows)
        rows = valid
    return read_changes(tables.connection, operator.spec, changes=rows, prefix=prefix)


def _invalid(execution: Execution, relation: Relation, operator: ApplyChanges, rows: str) -> str:
    """A SELECT of the changes that cannot be applied, with the column ``__reason``.

    A partition whose text is empty is null in Delta: as part of a key it would never be found
    again.
    """
    spec = operator.spec
    sql = invalid_sql(spec, rows)
    names = [
        name
        for name in spec.keys
        if name in execution.job.partition_by
        and pa.types.is_string(relation.schema.field(name).type)
    ]
    if not names:
        return sql
    empty = " OR ".join(f"coalesce({quote_identifier(name)}, '') = ''" for name in names)
    if spec.truncate_when is not None:
        empty = f"({empty}) AND NOT coalesce(({spec.truncate_when}), false)"
    reason = quote_literal(
        f"a key column that the table is partitioned by ({', '.join(names)}) is empty, which "
        "Delta keeps as null"
    )
    return (
        f"SELECT * FROM ({sql}) UNION ALL (SELECT *, {reason} AS __reason FROM {rows} "
        f"WHERE {empty} EXCEPT ALL SELECT * EXCLUDE (__reason), {reason} FROM ({sql}))"
    )


def _set_aside(
    execution: Execution, relation: Relation, operator: ApplyChanges, invalid: str, count: int
) -> None:
    """Send changes that cannot be applied to the quarantine, or fail before any is."""
    connection = execution.tables.connection
    names = ", ".join(
        f"{quote_identifier(name)} := {quote_identifier(name)}" for name in relation.schema.names
    )
    text = f"CAST(to_json(struct_pack({names})) AS VARCHAR)"
    inputs = execution.job.inputs.values()
    if any(isinstance(item.data, TableInput) or item.on_bad_record == "fail" for item in inputs):
        shown = connection.execute(
            f"SELECT __reason, {text} FROM {invalid} ORDER BY ALL LIMIT {_SHOWN}"
        ).fetchall()
        listed = "; ".join(f"{reason}: {row}" for reason, row in shown)
        raise BadRecords(
            f"{count:,} of the batch's changes cannot be applied: {listed}",
            remedy="nothing was written. Leave such rows out with where(...), or mend the "
            "source: every change needs its key and its sequence",
        )
    for first in range(0, count, _PAGE):
        # Few, and each becomes a row of the quarantine by itself.
        page = connection.execute(
            f"SELECT __reason, {text} FROM {invalid} "
            f"WHERE rowid >= {first} AND rowid < {first + _PAGE}"
        ).fetchall()
        for reason, row in page:
            raw = str(row).encode()
            digest = hashlib.sha256(raw).hexdigest()
            record = BadRecord(None, str(reason), raw, len(raw), digest)
            execution.inputs.set_aside_row(operator.id, record)
