"""Rows from too far ahead, which would close everything: set aside before they are measured."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestration.engine.quarantine import BadRecord
from orchestration.engine.stateful.relation import Relation
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from orchestration.engine.stateful.execution import Execution
    from orchestration.streams.operators import WithWatermark

__all__ = ["set_aside_future"]

_PAGE = 10_000  # rows in memory at once


def set_aside_future(execution: Execution, relation: Relation, operator: WithWatermark) -> Relation:
    """The rows without those further ahead of the batch's timestamp than ``max_future``."""
    job, tables = execution.job, execution.tables
    last = job.timestamp + timedelta(microseconds=operator.max_future_us or 0)
    column = quote_identifier(operator.column)
    ahead = f"{column} > TIMESTAMPTZ {quote_literal(last.isoformat())}"
    packed = ", ".join(
        f"{quote_identifier(name)} := {quote_identifier(name)}" for name in relation.schema.names
    )
    found = tables.create(
        f"SELECT CAST({column} AS VARCHAR) AS at, "
        f"CAST(to_json(struct_pack({packed})) AS VARCHAR) AS text "
        f"FROM ({relation.sql}) WHERE {ahead}"
    )
    count = int(tables.value(f"SELECT count(*) FROM {found}"))
    for first in range(0, count, _PAGE):
        # Bad records are few, and each becomes a row of the quarantine by itself.
        page = tables.connection.execute(
            f"SELECT at, text FROM {found} WHERE rowid >= {first} AND rowid < {first + _PAGE}"
        ).fetchall()
        for at, text in page:
            reason = (
                f"{operator.column}: {at} is further ahead of the batch "
                f"({job.timestamp.isoformat()}) than max_future allows"
            )
            execution.inputs.set_aside_row(operator.id, _record(reason, str(text).encode()))
    if not count:
        return relation
    sql = f"SELECT * FROM ({relation.sql}) WHERE ({ahead}) IS NOT TRUE"
    return Relation(sql, relation.schema, relation.hidden)


def _record(reason: str, raw: bytes) -> BadRecord:
    return BadRecord(None, reason, raw, len(raw), hashlib.sha256(raw).hexdigest())
