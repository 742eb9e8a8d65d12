"""Rows that came after their window had closed: kept, counted, and left out of a reprocess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.engine.base import LATE_SCHEMA
from orchestration.engine.stateful.aggregation import timestamp_of
from orchestration.engine.stateful.partials import SEQUENCE
from orchestration.engine.writer import write
from orchestration.streams.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.cursors.records import DataFile
    from orchestration.engine.stateful.job import StatefulJob
    from orchestration.engine.stateful.tables import Tables

__all__ = ["Late", "row_text"]


class Late:
    """The late rows of one batch.

    Args:
        job: The batch.
        tables: Its scratch tables.
    """

    def __init__(self, job: StatefulJob, tables: Tables) -> None:
        self._job = job
        self._tables = tables
        self._kept: list[str] = []
        self._left_out: str | None = None

    @property
    def keeps(self) -> bool:
        """Whether a late row is told by all its columns: it is kept, or was, and is left out."""
        if self._job.full is not None:
            return bool(self._job.full.files)
        return self._job.on_late == "table"

    def split(
        self,
        table: str,
        operator: str,
        columns: Sequence[str],
        time_us: str,
        watermark_us: int,
    ) -> tuple[str, int]:
        """Take the late rows out.

        Args:
            table: The rows: a scratch table, or a SELECT of one in brackets. It is read twice.
            operator: Id of the operator that they are too late for.
            columns: Columns of the table that tell a row, as they are named.
            time_us: SQL of the moment that must come after the watermark, microseconds.
            watermark_us: The late watermark.

        Returns:
            A SELECT of the rows that are in time, and how many are not.
        """
        if self._job.full is not None:
            return self._without_left_out(table, operator, columns), 0
        condition = f"{time_us} <= {watermark_us}"
        count = self.take(
            f"(SELECT * FROM {table} WHERE {condition})",
            operator,
            row_text(columns),
            time_us,
            watermark_us,
        )
        if not count:
            return f"SELECT * FROM {table}", 0
        return f"SELECT * FROM {table} WHERE ({condition}) IS NOT TRUE", count

    def take(self, late: str, operator: str, text: str, time_us: str, watermark_us: int) -> int:
        """Keep late rows, where they are wanted.

        Args:
            late: The rows: a SELECT in brackets. It is read twice.
            operator: Id of the operator that they are too late for.
            text: SQL of a row's text, see :func:`row_text`.
            time_us, watermark_us: As for :meth:`split`.

        Returns:
            How many they are.
        """
        count = int(self._tables.value(f"SELECT count(*) FROM {late}"))
        if count and self._job.on_late == "table":
            self._kept.append(
                self._tables.create(
                    f"SELECT {quote_literal(operator)} AS operator, "
                    f"{timestamp_of(time_us)} AS event_time, "
                    f"{timestamp_of(str(watermark_us))} AS watermark, "
                    f'{text} AS "row", {self._job.batch_id} AS batch_id, '
                    f"TIMESTAMPTZ {quote_literal(self._job.timestamp.isoformat())} AS late_at "
                    f"FROM {late}"
                )
            )
        return count

    def write(self) -> tuple[DataFile, ...]:
        """Write what was kept as files of the late table."""
        if not self._kept:
            return ()
        return write(
            self._tables.connection,
            " UNION ALL ".join(f"SELECT * FROM {table}" for table in self._kept),
            LATE_SCHEMA,
            self._job.late_dir,
            self._job.file_prefix,
            partition_by=(),
            target_file_size=self._job.target_file_size,
        )

    def leaves_out(self, operator: str) -> bool:
        """Whether a full reprocess has rows to leave out at an operator."""
        found = self._left_out_table()
        if found is None:
            return False
        named = f"operator = {quote_literal(operator)}"
        return bool(self._tables.value(f"SELECT count(*) FROM {found} WHERE {named}"))

    # -- a full reprocess -----------------------------------------------------------------------------

    def _without_left_out(self, table: str, operator: str, columns: Sequence[str]) -> str:
        """Rows without those that the incremental query had dropped, as multisets."""
        if not self.leaves_out(operator):
            return f"SELECT * FROM {table}"
        found = self._left_out_table()
        dropped = self._tables.create(
            f'SELECT "row" AS headwater_row, count(*) AS headwater_count FROM {found} '
            f"WHERE operator = {quote_literal(operator)} GROUP BY ALL"
        )
        text = row_text(columns)
        # Late once, late for ever: of rows alike the late ones are those that came last.
        described = self._tables.connection.execute(f"SELECT * FROM {table} LIMIT 0").description
        numbered = any(item[0] == SEQUENCE for item in described or ())
        last = f" ORDER BY {SEQUENCE} DESC" if numbered else ""
        return (
            f"SELECT * FROM {table} WHERE {text} NOT IN (SELECT headwater_row FROM {dropped}) "
            f"UNION ALL SELECT * EXCLUDE (headwater_row, headwater_count) FROM "
            f"{table} JOIN {dropped} ON {text} = headwater_row "
            f"QUALIFY row_number() OVER (PARTITION BY headwater_row{last}) > headwater_count"
        )

    def _left_out_table(self) -> str | None:
        full = self._job.full
        if full is None or not full.files:
            return None
        if self._left_out is None:
            from pyarrow.dataset import dataset

            # Only what tells them is read, a page at a time.
            scanner = dataset(list(full.files), format="parquet").scanner(
                columns=["operator", "row", "batch_id"]
            )
            name = self._tables.register(scanner.to_reader())
            self._left_out = self._tables.create(
                f'SELECT operator, "row" FROM {name} WHERE batch_id <= {full.through_batch}'
            )
        return self._left_out


def row_text(columns: Sequence[str]) -> str:
    """SQL of a row as JSON text, without columns of ours but for a window's bounds."""
    named = [name for name in columns if name != SEQUENCE]
    packed = ", ".join(f"{quote_identifier(name)} := {quote_identifier(name)}" for name in named)
    return f"CAST(to_json(struct_pack({packed})) AS VARCHAR)"
