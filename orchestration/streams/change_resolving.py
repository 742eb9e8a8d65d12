"""What a sink says of changes, held against the columns of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from orchestration.errors import DeclarationError, ExpressionError, SchemaError
from orchestration.streams.change_spec import ChangeSpec
from orchestration.streams.expressions import check_expression, uses_batch_timestamp
from orchestration.streams.operators import SNAPSHOT, ApplyChanges
from orchestration.streams.parsing import parse_expression
from orchestration.streams.quoting import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestration.streams.columns import Columns

__all__ = ["CHANGES_ID", "CHANGE_COLUMNS", "Changes"]

#: Id of the operator that applies a query's changes; its memory is kept under this.
CHANGES_ID = "changes"

#: Columns of a change stream that describe the change, and not the row: no table keeps them
#: unless it is told to.
CHANGE_COLUMNS = (
    "_op",
    "_sequence",
    "_source_time",
    "_transaction",
    "_table",
    "_unchanged",
    "_commit_version",
    "_commit_time",
)
_OWN = ("__sequence", "__start_at", "__end_at")
_USUAL = ("full_snapshots", False)  # is not spelled out


@dataclass(frozen=True, slots=True)
class Changes:
    """How a table follows changes, as it was declared.

    Attributes:
        scd_type: 1 for the current state, 2 for history.
        keys: Columns that name a row.
        sequence_by: SQL; ``None`` for the column ``_sequence``.
        delete_when: SQL; ``None`` for ``_op = 'delete'`` where there is such a column.
        apply_truncates: Whether ``_op = 'truncate'`` deletes everything older.
        ignore_null_updates: Columns in which null means "as before"; ``True`` for all.
        columns, except_columns: What the table keeps; ``None`` where not said.
        track_columns, track_columns_except: Whose changes begin a row of history.
        soft_delete: Column that says that a row is deleted.
        retention_us: How long memory is kept, microseconds; ``None`` for ever.
        full_snapshots: Whether the rows of one sequence are all there is at that time.
    """

    scd_type: Literal[1, 2]
    keys: tuple[str, ...]
    sequence_by: str | None = None
    delete_when: str | None = None
    apply_truncates: bool = True
    ignore_null_updates: Literal[True] | tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    except_columns: tuple[str, ...] | None = None
    track_columns: tuple[str, ...] | None = None
    track_columns_except: tuple[str, ...] | None = None
    soft_delete: str | None = None
    retention_us: int | None = None
    full_snapshots: bool = False

    def checked(self) -> Self:
        """The same, where it makes sense by itself.

        Raises:
            DeclarationError: It does not.
        """
        if not self.keys:
            raise DeclarationError(
                f"{self._name}: keys names no column, so no change could find its row",
                remedy='name the columns that tell one row from another, e.g. keys="id"',
            )
        for one, other in (
            ("columns", "except_columns"),
            ("track_columns", "track_columns_except"),
        ):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise DeclarationError(
                    f"{self._name}: both {one} and {other} are given", remedy="give one of them"
                )
        for place in ("sequence_by", "delete_when"):
            text = getattr(self, place)
            if text is not None:
                self._expression(text, None, place)
        return self

    def resolved(self, columns: Columns) -> ChangeSpec:
        """What it means for a stream of these columns.

        Args:
            columns: The stream's.

        Raises:
            DeclarationError: A column is not there, or stands where it must not.
        """
        kept = self._kept(columns)
        keys = self._found("keys", self.keys, columns)
        gone = [name for name in keys if name not in kept]
        if gone:
            raise DeclarationError(
                f'{self._name}: the key "{gone[0]}" is not among the columns that the table keeps',
                remedy="keep it: a row is found again by its keys",
            )
        others = tuple(name for name in kept if name not in keys)
        nulls = self.ignore_null_updates
        return ChangeSpec(
            scd_type=self.scd_type,
            keys=keys,
            sequence=self._sequence(columns),
            delete_when=self._delete(columns),
            truncate_when=self._truncates(columns),
            columns=kept,
            tracked=self._tracked(kept, keys) if self.scd_type == 2 else (),
            ignore_null_updates=(
                others
                if nulls is True
                else self._kept_ones("ignore_null_updates", nulls, kept, keys)
            ),
            unchanged="_unchanged" if "_unchanged" in columns else None,
            soft_delete=self._soft_delete(kept),
            spares=self.full_snapshots,
        )

    def operator(self, columns: Columns) -> ApplyChanges:
        """The last operator of the plan; raises as :meth:`resolved`."""
        left_out = None if self.apply_truncates else self._truncate(columns)
        return ApplyChanges(
            CHANGES_ID, self.resolved(columns), left_out, self.retention_us, self.full_snapshots
        )

    @property
    def _name(self) -> str:
        return f"scd{self.scd_type}_sink"

    # -- columns ----------------------------------------------------------------------------------

    def _kept(self, columns: Columns) -> tuple[str, ...]:
        if self.columns is not None:
            kept = self._found("columns", self.columns, columns)
        else:
            left = {name.lower() for name in CHANGE_COLUMNS}
            left |= {
                name.lower()
                for name in self._found("except_columns", self.except_columns or (), columns)
            }
            kept = tuple(name for name in columns.names if name.lower() not in left)
        taken = [name for name in kept if name.lower() in _OWN]
        if taken:
            raise DeclarationError(
                f'{self._name}: the table has a column "{taken[0]}" of its own',
                remedy=f'leave the stream\'s out: except_columns="{taken[0]}"; or select it under '
                "another name",
            )
        if not kept:
            raise DeclarationError(
                f"{self._name}: no column is left for the table",
                remedy=f"the stream has {columns.listing()}; name those to keep with columns=[...]",
            )
        return kept

    def _tracked(self, kept: tuple[str, ...], keys: tuple[str, ...]) -> tuple[str, ...]:
        if self.track_columns is not None:
            return self._kept_ones("track_columns", self.track_columns, kept, keys)
        left = self._kept_ones("track_columns_except", self.track_columns_except or (), kept, keys)
        return tuple(name for name in kept if name not in keys and name not in left)

    def _kept_ones(
        self, place: str, names: Iterable[str], kept: tuple[str, ...], keys: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Columns of the table that are no keys."""
        from orchestration.streams.columns import Columns

        found = self._found(place, names, Columns(tuple((name, None) for name in kept)))
        wrong = [name for name in found if name in keys]
        if wrong:
            raise DeclarationError(
                f'{self._name}: {place} names "{wrong[0]}", which is a key',
                remedy="a key never changes within its row: leave it out",
            )
        return found

    def _soft_delete(self, kept: tuple[str, ...]) -> str | None:
        name = self.soft_delete
        if name is not None and name.lower() in {*(item.lower() for item in kept), *_OWN}:
            raise DeclarationError(
                f'{self._name}: soft_delete="{name}" is a column of the table already',
                remedy='give it a name of its own, e.g. soft_delete="is_deleted"',
            )
        return name

    def _found(self, place: str, names: Iterable[str], columns: Columns) -> tuple[str, ...]:
        """The columns, as the stream spells them."""
        spelled = {name.lower(): name for name in columns.names}
        for name in names:
            if name.lower() not in spelled:
                raise SchemaError(
                    f'{self._name}: {place} names "{name}", and there is no such column'
                    f"{columns.suggestion(name)}",
                    remedy=f"there are {columns.listing()}",
                )
        return tuple(spelled[name.lower()] for name in names)

    # -- expressions ------------------------------------------------------------------------------

    def _sequence(self, columns: Columns) -> str:
        if self.sequence_by is not None:
            return self._expression(self.sequence_by, columns, "sequence_by")
        if "_sequence" not in columns:
            raise DeclarationError(
                f"{self._name}: nothing says which of two changes is the newer one: the stream "
                "has no column _sequence",
                remedy='write sequence_by="updated_at", or whatever the source counts its changes '
                f"by; there are {columns.listing()}",
            )
        return quote_identifier("_sequence")

    def _delete(self, columns: Columns) -> str | None:
        if self.delete_when is not None:
            return self._expression(self.delete_when, columns, "delete_when")
        return "\"_op\" = 'delete'" if "_op" in columns else None

    def _truncates(self, columns: Columns) -> str | None:
        said = self._truncate(columns) if self.apply_truncates else None
        if not self.full_snapshots:
            return said
        return SNAPSHOT if said is None else f"({said}) OR {SNAPSHOT}"

    def _truncate(self, columns: Columns) -> str | None:
        return "\"_op\" = 'truncate'" if "_op" in columns else None

    def _expression(self, text: str, columns: Columns | None, place: str) -> str:
        if columns is not None and text.strip() in columns:
            # A column, whatever DuckDB's grammar makes of its name.
            return quote_identifier(self._found(place, (text.strip(),), columns)[0])
        check_expression(text, columns, place=f"{self._name}({place})")
        if uses_batch_timestamp(text):
            raise ExpressionError(
                f"{self._name}({place}): {text!r} depends on when the batch runs, so a change "
                "would mean something else each time it is read",
                remedy="use a column that the source wrote",
            )
        return parse_expression(text, place).text

    # -- kept with the query ----------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """The declaration as JSON; what is not said is left out."""
        found = {
            name: getattr(self, name)
            for name in self.__slots__
            if getattr(self, name) not in (None, ()) and (name, getattr(self, name)) != _USUAL
        }
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
        }
