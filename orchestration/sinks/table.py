"""One Delta table of a query: its identity, its owner and its schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa

from orchestration.errors import (
    ConfigError,
    CursorStoreLost,
    HeadwaterError,
    SinkOwned,
    SinkReplaced,
    SinkSchemaChanged,
    SinkUnavailable,
)
from orchestration.objects import Place, storage_options
from orchestration.redaction import redact
from orchestration.sinks.durability import sync_commit
from orchestration.sinks.skipping import skipping_properties

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from orchestration.sinks.declaration import SchemaEvolution

__all__ = ["Owner", "Role", "SinkTable", "same_type"]

Role = Literal["sink", "quarantine", "late", "twin"]

_QUERY = "headwater.query"
_STORE = "headwater.store"
_GENERATION = "headwater.generation"
_ROLE = "headwater.role"

# Features whose promises files that delta-rs did not write itself would break in silence.
_UNCHECKED_FEATURES = {
    "columnMapping": "column mapping",
    "generatedColumns": "generated columns",
    "identityColumns": "identity columns",
}

_NO_FEED = (
    "nothing was written. Set the table's property delta.enableChangeDataFeed to false; who read the "
    "feed reads the stream of changes itself, in a query of its own"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may write a table.

    Attributes:
        query_id: The query.
        app_id: Its generation, as Delta's ``txn.appId``.
        store_id: The cursor store that remembers it.
        role: What the table is to the query.
    """

    query_id: str
    app_id: str
    store_id: str
    role: Role

    def properties(self) -> dict[str, str]:
        """The owner as table properties."""
        return {
            _QUERY: self.query_id,
            _STORE: self.store_id,
            _GENERATION: self.app_id,
            _ROLE: self.role,
        }


class SinkTable:
    """A Delta table that one query owns.

    Args:
        uri: Absolute local path, or ``s3://bucket/prefix``.
        owner: Who we are.
        schema: The declared columns; all nullable.
        partition_by: The declared partition columns.
        schema_evolution: What to do about declared columns that the table lacks.
    """

    def __init__(
        self,
        uri: str,
        owner: Owner,
        schema: pa.Schema,
        partition_by: tuple[str, ...] = (),
        schema_evolution: SchemaEvolution = "fail",
    ) -> None:
        self.uri = uri
        self.owner = owner
        self.schema = pa.schema([pa.field(item.name, item.type) for item in schema])
        self.partition_by = partition_by
        self.schema_evolution = schema_evolution
        self.place = Place.open(uri)
        if "%" in uri:
            # delta-rs decodes the path of a table in one place and not in another.
            raise ConfigError(
                f"{redact(uri)} cannot hold a Delta table: delta-rs reads '%' as an escape",
                remedy="give the table, or HEADWATER_TABLES, a path without '%'",
            )

    def open(self, version: int | None = None) -> DeltaTable | None:
        """A fresh handle, or ``None`` where no table is.

        Raises:
            SinkUnavailable: The store does not answer, or the log cannot be read.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self.place.is_local and not (self.place.local_path / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(self.uri, version=version, storage_options=storage_options(self.uri))
        except TableNotFoundError:
            return None
        except Exception as error:
            raise SinkUnavailable(
                f"Delta table {redact(self.uri)} cannot be opened: {redact(str(error))}",
                remedy="check that the store is reachable and its credentials may read it",
            ) from error

    def open_existing(self) -> DeltaTable:
        """A fresh handle.

        Raises:
            SinkReplaced: No table is there any more.
            SinkUnavailable: The store does not answer, or the log cannot be read.
        """
        handle = self.open()
        if handle is None:
            raise self._replaced("it is gone")
        return handle

    def ensure(self, known_id: str | None, *, reclaim: bool = False) -> str:
        """Create the table where it is missing, or check that it is still ours and fits.

        Args:
            known_id: The table id the cursor store remembers; ``None`` before the first time.
            reclaim: The table is about to be overwritten whole (the twin), so it does not matter
                which cursor store filled it, nor with which columns.

        Returns:
            The table's id.

        Raises:
            SinkReplaced: It was deleted or recreated since.
            SinkOwned: Somebody else's.
            CursorStoreLost: Ours, but the cursor store has never heard of it.
            SinkSchemaChanged: Its columns or partitioning are not the declared ones.
            UnsafeStore: The object store ignores conditional PUT.
        """
        self.place.probe_conditional_put()
        table = self.open()
        if table is None:
            if known_id is not None:
                raise self._replaced("it is gone")
            table = self._create()
        self.check_identity(table, known_id, reclaim=reclaim)
        self._check_features(table)
        if reclaim:
            self._take_over(table)
        else:
            self.check_schema(table, evolve=self.schema_evolution == "add_columns")
        return str(table.metadata().id)

    def check_identity(
        self, table: DeltaTable, known_id: str | None, *, reclaim: bool = False
    ) -> None:
        """Refuse a table that is not ours. See :meth:`ensure`."""
        metadata = table.metadata()
        owner = metadata.configuration
        if known_id is not None and str(metadata.id) != known_id:
            raise self._replaced(f"its id is {metadata.id}, and was {known_id}")
        if _QUERY not in owner:
            if known_id is None and (table.version() > 0 or table.file_uris()):
                raise SinkOwned(
                    f"{redact(self.uri)} is a Delta table that Headwater did not make",
                    remedy="write to another table name, or move that table away",
                )
            self._take_over(table)
        elif (owner[_QUERY], owner.get(_ROLE)) != (self.owner.query_id, self.owner.role):
            raise SinkOwned(
                f"{redact(self.uri)} is the {owner.get(_ROLE)} table of query {owner[_QUERY]!r}, "
                f"not the {self.owner.role} table of {self.owner.query_id!r}",
                remedy="give each query a table of its own: change the sink, or the query's name",
            )
        elif owner.get(_STORE) != self.owner.store_id:
            if reclaim:
                return  # taken over below
            if known_id is None:
                raise CursorStoreLost(
                    f"{redact(self.uri)} holds what query {self.owner.query_id!r} wrote before, "
                    "but this cursor store has no record of it "
                    f"(the table's store is {owner.get(_STORE)}, this one {self.owner.store_id})",
                    remedy="'headwater cursors rebuild' continues where the table stands; or point "
                    "HEADWATER_CURSORS at the right store; or 'headwater reset "
                    f"{self.owner.query_id}' starts anew",
                )
            raise SinkOwned(
                f"{redact(self.uri)} was taken over by cursor store {owner.get(_STORE)}",
                remedy="run with that store (HEADWATER_CURSORS); this copy is out of date",
            )

    def take_over(self) -> None:
        """Write this owner into the table's properties (after a rebuild or a reset)."""
        table = self.open()
        if table is not None:
            self._take_over(table)

    def check_schema(self, table: DeltaTable, *, evolve: bool = False) -> None:
        """Hold the table's columns and partitioning against the declaration.

        Args:
            table: An open handle.
            evolve: Add missing columns instead of refusing them.

        Raises:
            SinkSchemaChanged: Names every difference.
        """
        partitions = tuple(table.metadata().partition_columns)
        if partitions != self.partition_by:
            raise self._schema_changed(
                [f"partitioned by {partitions}, declared {self.partition_by}"]
            )
        found = {item.name: item.type for item in pa.schema(cast("Any", table.schema().to_arrow()))}
        missing = [item for item in self.schema if item.name not in found]
        wrong = [
            f"column {item.name} is {found[item.name]}, declared {item.type}"
            for item in self.schema
            if item.name in found and not same_type(found[item.name], item.type)
        ]
        if self.schema_evolution == "fail":
            declared = set(self.schema.names)
            wrong += [
                f"column {name} was added by others" for name in found if name not in declared
            ]
        if missing and evolve and not wrong:
            self._add_columns(table, missing)
        elif missing:
            wrong += [f"column {item.name} ({item.type}) is missing" for item in missing]
        if wrong:
            raise self._schema_changed(wrong)

    def check_changeable(self, table: DeltaTable, *, whole: bool = False) -> None:
        """Refuse a table from which files must not be taken out, or not in our way.

        Args:
            table: An open handle.
            whole: All of them are, and nothing of them is carried over.

        Raises:
            SinkSchemaChanged: Names why.
        """
        configuration = table.metadata().configuration
        features = table.protocol().writer_features or ()
        unfit = []
        if configuration.get("delta.appendOnly", "false").lower() == "true":
            unfit.append("it only takes additions (delta.appendOnly)")
        feed = not whole and configuration.get("delta.enableChangeDataFeed", "").lower() == "true"
        if feed:
            # Readers of the feed would see rows that were only carried over change.
            unfit.append("it keeps a change data feed, which replaced files cannot fill")
        if not whole and "deletionVectors" in features:
            # A file of rows that are marked as deleted would bring them back, written anew.
            unfit.append("it uses deletion vectors")
        if unfit:
            raise self._schema_changed(unfit, _NO_FEED if feed else "")

    def _create(self) -> DeltaTable:
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError, DeltaError

        if self.place.is_local:
            self.place.local_path.mkdir(parents=True, exist_ok=True)
        try:
            table = DeltaTable.create(
                self.uri,
                schema=self.delta_schema(),
                mode="error",
                partition_by=list(self.partition_by),
                configuration=self._properties(),
                storage_options=storage_options(self.uri),
                raise_if_key_not_exists=False,
            )
        except (CommitFailedError, DeltaError) as error:
            found = self.open()  # another process may have been first
            if found is None:
                raise SinkUnavailable(
                    f"Delta table {redact(self.uri)} cannot be created: {redact(str(error))}",
                    remedy="check that the place exists and may be written",
                ) from error
            return found
        except (OSError, ValueError) as error:
            raise SinkUnavailable(
                f"Delta table {redact(self.uri)} cannot be created: {redact(str(error))}",
                remedy="check that the place exists and may be written",
            ) from error
        self.sync(0)
        return table

    def delta_schema(self) -> Any:
        """The declared schema as delta-rs takes it."""
        from deltalake import Schema

        return Schema.from_arrow(self.schema)

    def sync(self, version: int) -> None:
        """Make one version of a local table outlive a power cut."""
        if self.place.is_local:
            sync_commit(self.place.local_path, version)

    def _add_columns(self, table: DeltaTable, missing: list[pa.Field[Any]]) -> None:
        from deltalake import Schema

        table.alter.add_columns(list(Schema.from_arrow(pa.schema(missing)).fields))
        table.update_incremental()
        self.sync(table.version())

    def _properties(self) -> dict[str, str]:
        """Owner, and what readers may skip by; the latter only once the columns are known."""
        skipping = skipping_properties(self.schema, self.partition_by) if self.schema.names else {}
        return {**self.owner.properties(), **skipping}

    def _take_over(self, table: DeltaTable) -> None:
        wanted = self._properties()
        found = table.metadata().configuration
        if any(found.get(key) != value for key, value in wanted.items()):
            table.alter.set_table_properties(wanted, raise_if_not_exists=False)
            table.update_incremental()
            self.sync(table.version())

    def _check_features(self, table: DeltaTable) -> None:
        configuration = table.metadata().configuration
        unfit = [
            name
            for feature, name in _UNCHECKED_FEATURES.items()
            if feature in (table.protocol().writer_features or ())
        ]
        if configuration.get("delta.columnMapping.mode", "none") != "none":
            unfit.append("column mapping")
        unfit += [
            f"the CHECK constraint {key.removeprefix('delta.constraints.')}"
            for key in configuration
            if key.startswith("delta.constraints.")
        ]
        if unfit:
            raise self._schema_changed([f"it uses {name}" for name in unfit])

    def _replaced(self, what: str) -> HeadwaterError:
        return SinkReplaced(
            f"the {self.owner.role} table {redact(self.uri)} of query {self.owner.query_id!r} is "
            f"not the one it wrote: {what}",
            remedy=f"put the table back, or 'headwater reset {self.owner.query_id}' to fill a new "
            "one from the beginning",
        )

    def _schema_changed(self, differences: list[str], remedy: str = "") -> HeadwaterError:
        query = self.owner.query_id
        return SinkSchemaChanged(
            f"{redact(self.uri)} does not fit query {query!r}: " + "; ".join(differences),
            remedy=remedy
            or "change the query or the table so that they agree; "
            'delta_sink(schema_evolution="add_columns") takes new columns; '
            f"'headwater reset {query}' rewrites the table with the declared columns",
        )


def same_type(left: pa.DataType, right: pa.DataType) -> bool:
    """Whether two Arrow types are one Delta type (names inside lists and maps do not count)."""
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        return left.num_fields == right.num_fields and all(
            left.field(i).name == right.field(i).name
            and same_type(left.field(i).type, right.field(i).type)
            for i in range(left.num_fields)
        )
    if pa.types.is_list(left) and pa.types.is_list(right):
        return same_type(left.value_type, right.value_type)
    if pa.types.is_map(left) and pa.types.is_map(right):
        return same_type(left.key_type, right.key_type) and same_type(
            left.item_type, right.item_type
        )
    return bool(left == right)
