"""Tables that follow changes: current state (SCD type 1) or history (SCD type 2)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from orchestration.errors import DeclarationError
from orchestration.sinks.declaration import (
    DEFAULT_TARGET_FILE_SIZE,
    DeltaSink,
    OnLate,
    SchemaEvolution,
    delta_sink,
)
from orchestration.streams.change_resolving import Changes
from orchestration.streams.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

__all__ = ["ChangeSink", "scd1_sink", "scd2_sink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSink(DeltaSink):
    """A Delta table as the target of changes. Made by :func:`scd1_sink` and :func:`scd2_sink`.

    Attributes:
        changes: What the rows of the stream mean. The stream gives each change once, as in
            output mode ``append``; the table's rows are replaced.
    """

    changes: Changes

    @property
    def mode(self) -> str:
        """``scd1`` or ``scd2``."""
        return f"scd{self.changes.scd_type}"


def scd1_sink(
    table: str,
    keys: str | Sequence[str],
    *,
    sequence_by: str | None = None,
    delete_when: str | None = None,
    apply_truncates: bool = True,
    ignore_null_updates: bool | str | Sequence[str] = False,
    columns: str | Sequence[str] | None = None,
    except_columns: str | Sequence[str] | None = None,
    soft_delete: str | None = None,
    full_snapshots: bool = False,
    tombstone_retention: str | timedelta | None = "7 days",
    partition_by: str | Sequence[str] = (),
    target_file_size: int = DEFAULT_TARGET_FILE_SIZE,
    schema_evolution: SchemaEvolution = "fail",
    on_late: OnLate = "table",
) -> ChangeSink:
    """Keep a table as its source is now: one row per key, whatever order changes come in.

    A change never overwrites a newer one of its key, a deleted row is not brought back by an
    older insert, and a change that is delivered again changes nothing. Only files that hold
    changed rows are written anew.

    Example::

        pipeline("customers", stream(debezium(files("landing/customers"), schema={...})),
                 sink=scd1_sink("customers", keys="id"))

    Args:
        table: As for :func:`~orchestration.delta_sink`.
        keys: Columns that name a row. Null in one of them is an error.
        sequence_by: SQL expression that orders the changes of a key: the greatest is the newest.
            A whole number, a time, a date, an exact decimal or a text. By default the column
            ``_sequence`` of a change source. Of two upserts of equal sequence the one with the
            greater content wins; a delete wins over both.
        delete_when: SQL condition for rows that delete their key; by default ``_op = 'delete'``
            where the stream has ``_op``. Without it every row is an insert or update.
        apply_truncates: Whether a row with ``_op = 'truncate'`` deletes everything older; else
            such rows are left out.
        ignore_null_updates: Whether null in an update means "as before": for all columns, or for
            those named.
        columns: Columns to keep; by default all but those that describe the change (``_op``,
            ``_sequence``, ``_source_time``, ``_transaction``, ``_table``, ``_unchanged``, …).
        except_columns: Columns not to keep, instead.
        soft_delete: Name of one more BOOLEAN column that says a row is deleted, instead of
            removing it.
        full_snapshots: Whether the rows of one sequence are all that the source holds at that
            time, so that a row that a newer snapshot lacks is deleted. A snapshot may come in
            several files and batches. Name the snapshot with ``sequence_by``.
        tombstone_retention: How long deleted keys, and which change gave which cell, are
            remembered after the batch that brought them. Later than this, an older change may
            bring a deleted row back. ``None``: for ever.
        partition_by, target_file_size, schema_evolution, on_late: As for ``delta_sink``.

    Raises:
        DeclarationError: A value makes no sense. Columns are looked at with the stream.
    """
    changes = Changes(
        scd_type=1,
        keys=_names("keys", keys),
        sequence_by=sequence_by,
        delete_when=delete_when,
        apply_truncates=apply_truncates,
        ignore_null_updates=_nulls(ignore_null_updates),
        columns=_some("columns", columns),
        except_columns=_some("except_columns", except_columns),
        soft_delete=soft_delete,
        retention_us=_retention(tombstone_retention),
        full_snapshots=full_snapshots,
    ).checked()
    return _sink(table, changes, partition_by, target_file_size, schema_evolution, on_late)


def scd2_sink(
    table: str,
    keys: str | Sequence[str],
    *,
    sequence_by: str | None = None,
    delete_when: str | None = None,
    apply_truncates: bool = True,
    ignore_null_updates: bool | str | Sequence[str] = False,
    columns: str | Sequence[str] | None = None,
    except_columns: str | Sequence[str] | None = None,
    track_columns: str | Sequence[str] | None = None,
    track_columns_except: str | Sequence[str] | None = None,
    full_snapshots: bool = False,
    tombstone_retention: str | timedelta | None = "7 days",
    partition_by: str | Sequence[str] = (),
    target_file_size: int = DEFAULT_TARGET_FILE_SIZE,
    schema_evolution: SchemaEvolution = "fail",
    on_late: OnLate = "table",
) -> ChangeSink:
    """Keep a table's history: one row for each state of a key, from when until when it held.

    ``__start_at`` is the sequence that began a row, ``__end_at`` the one that ended it, null
    while it holds. The history is the one that all changes in the order of their sequence make:
    a late change is placed where it belongs in time.

    Example::

        pipeline("customers_history", stream(debezium(files("landing/customers"), schema={...})),
                 sink=scd2_sink("customers_history", keys="id", track_columns_except="seen_at"))

    Args:
        track_columns: Only a change in one of these begins a new row; a change of others alters
            the row of its time in place. By default all columns but the keys.
        track_columns_except: Columns whose changes begin no new row, instead.
        table, keys, sequence_by, delete_when, apply_truncates, ignore_null_updates, columns,
        except_columns, full_snapshots, tombstone_retention, partition_by, target_file_size,
        schema_evolution, on_late: As for :func:`scd1_sink`.

    Raises:
        DeclarationError: A value makes no sense. Columns are looked at with the stream.
    """
    changes = Changes(
        scd_type=2,
        keys=_names("keys", keys),
        sequence_by=sequence_by,
        delete_when=delete_when,
        apply_truncates=apply_truncates,
        ignore_null_updates=_nulls(ignore_null_updates),
        columns=_some("columns", columns),
        except_columns=_some("except_columns", except_columns),
        track_columns=_some("track_columns", track_columns),
        track_columns_except=_some("track_columns_except", track_columns_except),
        retention_us=_retention(tombstone_retention),
        full_snapshots=full_snapshots,
    ).checked()
    return _sink(table, changes, partition_by, target_file_size, schema_evolution, on_late)


def _sink(
    table: str,
    changes: Changes,
    partition_by: str | Sequence[str],
    target_file_size: int,
    schema_evolution: SchemaEvolution,
    on_late: OnLate,
) -> ChangeSink:
    plain = delta_sink(
        table,
        partition_by=partition_by,
        target_file_size=target_file_size,
        schema_evolution=schema_evolution,
        on_late=on_late,
    )
    options = {item.name: getattr(plain, item.name) for item in fields(plain)}
    return ChangeSink(**options, changes=changes)


def _names(what: str, given: str | Sequence[str]) -> tuple[str, ...]:
    found: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    wrong = [name for name in found if not isinstance(name, str) or not name.strip()]
    if wrong:
        raise DeclarationError(f"{what}={given!r}: {wrong[0]!r} is not a column name")
    if len({name.lower() for name in found}) != len(found):
        raise DeclarationError(f"{what}={found} names a column twice; capitals do not count")
    return found


def _some(what: str, given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else _names(what, given)


def _nulls(given: bool | str | Sequence[str]) -> Literal[True] | tuple[str, ...]:
    if isinstance(given, bool):
        return True if given else ()
    return _names("ignore_null_updates", given)


def _retention(given: str | timedelta | None) -> int | None:
    if given is None:
        return None
    length = parse_duration(given) if isinstance(given, str) else given
    us = round(length.total_seconds() * 1_000_000)
    if us <= 0:
        raise DeclarationError(
            f"tombstone_retention={given!r} forgets every delete at once",
            remedy='give how late a change may come, e.g. "7 days"; None remembers for ever',
        )
    return us
