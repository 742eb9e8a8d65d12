"""The one format that every source of changes gives, and how each kind of file writes changes.

A change is a row: six columns that say what it is, then the columns of the table, flat.

================  ==============  ============================================================
column            type            meaning
================  ==============  ============================================================
``_op``           VARCHAR         ``insert``, ``update``, ``delete``, ``truncate``, or ``read``
                                  for a row of a snapshot
``_sequence``     VARCHAR         orders the changes, compared byte by byte; the same change
                                  delivered again has the same
``_source_time``  TIMESTAMPTZ     when the database made the change, where the record says
``_transaction``  VARCHAR         which transaction it was part of, where the record says
``_table``        VARCHAR         ``schema.table``, as the source names it
``_unchanged``    VARCHAR[]       columns whose value the record does not carry; null for none
================  ==============  ============================================================

The declared columns hold the row after the change; of a delete what is known of the row, of a
truncate nothing. A change of the key is two rows: a delete of the old and an insert of the new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

__all__ = ["CHANGE_FIELDS", "CHANGE_NAMES", "ChangeFormat", "Shape", "TimeUnit"]

Shape = Literal["debezium", "maxwell", "canal", "dms"]
TimeUnit = Literal["ms", "us", "ns"]

#: The columns before the declared ones.
CHANGE_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("_op", pa.string()),
    pa.field("_sequence", pa.string()),
    pa.field("_source_time", pa.timestamp("us", "UTC")),
    pa.field("_transaction", pa.string()),
    pa.field("_table", pa.string()),
    pa.field("_unchanged", pa.list_(pa.string())),
)
CHANGE_NAMES = tuple(item.name for item in CHANGE_FIELDS)


@dataclass(frozen=True, slots=True)
class ChangeFormat:
    """How the records of change files are read.

    Attributes:
        shape: Which tool wrote them.
        table: Only changes of this table, as ``_table`` names it; ``None`` for all.
        keys: Columns that name a row, where the records do not say.
        unwrapped: Debezium: rows without their envelope (``ExtractNewRecordState``).
        decimals: What a string in a DECIMAL column is where no schema says.
        timestamps: Column, or ``*``, and the unit of integers in TIMESTAMPTZ columns where no
            schema says.
        binary: How bytes are written.
        unavailable: Debezium: what stands for a value that the record does not carry.
        snapshots: Debezium on PostgreSQL: where rows of a snapshot come in the order.
        op_column, sequence_column, time_column: DMS: columns of the files.
    """

    shape: Shape
    table: str | None = None
    keys: tuple[str, ...] = ()
    unwrapped: bool = False
    decimals: Literal["precise", "string"] | None = None
    timestamps: tuple[tuple[str, TimeUnit], ...] = ()
    binary: Literal["base64", "hex"] = "base64"
    unavailable: str = "__debezium_unavailable_value"
    snapshots: Literal["first", "placed"] = "first"
    op_column: str = "Op"
    sequence_column: str | None = None
    time_column: str | None = None

    def unit(self, column: str) -> TimeUnit | None:
        """The unit of integers in a TIMESTAMPTZ column; ``None`` where it was not declared."""
        units = dict(self.timestamps)
        return units.get(column, units.get("*"))

    def describe(self) -> dict[str, Any]:
        """The options as JSON, those left out too."""
        return {
            "shape": self.shape,
            "table": self.table,
            "keys": list(self.keys),
            "unwrapped": self.unwrapped,
            "decimals": self.decimals,
            "timestamps": dict(self.timestamps),
            "binary": self.binary,
            "unavailable": self.unavailable,
            "snapshots": self.snapshots,
            "op_column": self.op_column,
            "sequence_column": self.sequence_column,
            "time_column": self.time_column,
        }
