"""The cursor store's tables.

::

    headwater_meta            store_id and the like
    headwater_generations     one row per generation of a query
    headwater_leases          one row per query, for ever; its token only grows
    headwater_batches         the batch log: plan, seal, commit, acknowledgement, sums
    headwater_sources         per generation and source: the last planned end, the listing's state
    headwater_files           the ledger: one row per file version, numbered from 0 per source
    headwater_reprocesses     what each full reprocess cost
    headwater_verifications   what each comparison of incremental and full found

Times are whole microseconds since the epoch, so that no driver's idea of time zones matters.
Documents are JSON in TEXT columns: nobody queries inside them, and both databases keep them
byte for byte. The names have a prefix because a PostgreSQL database may be shared.

A change here needs a migration beside it (``migrations/versions``); a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "VERSION_TABLE",
    "batches",
    "files",
    "generations",
    "leases",
    "meta",
    "metadata",
    "reprocesses",
    "sources",
    "verifications",
]

# Alembic's own default name is also Dagster's, which may live in the same database.
VERSION_TABLE = "headwater_schema_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

meta = Table(
    "headwater_meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

generations = Table(
    "headwater_generations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("query_id", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("token", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("input_schema", Text),
    Column("table_ids", Text, nullable=False),
    UniqueConstraint("query_id", "number"),
)

leases = Table(
    "headwater_leases",
    metadata,
    Column("query_id", Text, primary_key=True),
    Column("token", BigInteger, nullable=False),
    # Tells apart two holders that were given the same token by two copies of one store.
    Column("nonce", Text),
    Column("run_id", Text),
    Column("holder", Text),
    Column("acquired_at", BigInteger),
    Column("renewed_at", BigInteger),
    Column("expires_at", BigInteger),
)

# The documents stand last: sums over many batches then never touch their pages.
batches = Table(
    "headwater_batches",
    metadata,
    Column("generation_id", Integer, ForeignKey("headwater_generations.id"), primary_key=True),
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("plan_hash", Text, nullable=False),
    Column("attempt", Text),
    Column("planned_at", BigInteger, nullable=False),
    Column("sealed_at", BigInteger),
    Column("committed_at", BigInteger),
    Column("acked_at", BigInteger),
    Column("rows_in", BigInteger, nullable=False, server_default="0"),
    Column("rows_out", BigInteger, nullable=False, server_default="0"),
    Column("rows_bad", BigInteger, nullable=False, server_default="0"),
    Column("bytes_in", BigInteger, nullable=False, server_default="0"),
    Column("files_in", BigInteger, nullable=False, server_default="0"),
    Column("seconds", Double, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failure_kind", Text),
    Column("blocked", Boolean, nullable=False),
    Column("skip", Boolean, nullable=False),
    Column("last_error", Text),
    Column("plan", Text, nullable=False),
    Column("progress", Text),
    Column("seal", Text),
)

sources = Table(
    "headwater_sources",
    metadata,
    Column("generation_id", Integer, ForeignKey("headwater_generations.id"), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("planned_end", Text, nullable=False),
    Column("listing", Text, nullable=False),
)

# No foreign key: rows come in by the hundred thousand, always beside their generation's batch.
# Clustered by the key, so that reading a range, or all of it in order, sorts nothing.
files = Table(
    "headwater_files",
    metadata,
    Column("generation_id", Integer, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
    Column("etag", Text),
    sqlite_with_rowid=False,
)

reprocesses = Table(
    "headwater_reprocesses",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("query_id", Text, nullable=False, index=True),
    Column("run_id", Text, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("table_version", BigInteger),
    Column("offsets", Text, nullable=False),
)

verifications = Table(
    "headwater_verifications",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("query_id", Text, nullable=False, index=True),
    Column("run_id", Text, nullable=False),
    Column("checked_at", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("table_version", BigInteger),
    Column("twin_version", BigInteger),
    Column("offsets", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
