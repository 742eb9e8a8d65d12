"""The first schema.

Revision: 0001
Before it: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

__all__ = ["downgrade", "upgrade"]


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "headwater_meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_headwater_meta"),
    )
    op.create_table(
        "headwater_generations",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("input_schema", sa.Text()),
        sa.Column("table_ids", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_headwater_generations"),
        sa.UniqueConstraint("query_id", "number", name="uq_headwater_generations_query_id"),
    )
    op.create_table(
        "headwater_leases",
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.Text()),
        sa.Column("run_id", sa.Text()),
        sa.Column("holder", sa.Text()),
        sa.Column("acquired_at", sa.BigInteger()),
        sa.Column("renewed_at", sa.BigInteger()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("query_id", name="pk_headwater_leases"),
    )
    op.create_table(
        "headwater_batches",
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text()),
        sa.Column("planned_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger()),
        sa.Column("committed_at", sa.BigInteger()),
        sa.Column("acked_at", sa.BigInteger()),
        sa.Column("rows_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows_bad", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files_in", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failure_kind", sa.Text()),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("skip", sa.Boolean(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("progress", sa.Text()),
        sa.Column("seal", sa.Text()),
        sa.PrimaryKeyConstraint("generation_id", "batch_id", name="pk_headwater_batches"),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["headwater_generations.id"],
            name="fk_headwater_batches_generation_id",
        ),
    )
    op.create_table(
        "headwater_sources",
        sa.Column("generation_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("planned_end", sa.Text(), nullable=False),
        sa.Column("listing", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("generation_id", "source", name="pk_headwater_sources"),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["headwater_generations.id"],
            name="fk_headwater_sources_generation_id",
        ),
    )
    op.create_table(
        "headwater_files",
        sa.Column("generation_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified_us", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.Text()),
        sa.PrimaryKeyConstraint("generation_id", "source", "seq", name="pk_headwater_files"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "headwater_reprocesses",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("table_version", sa.BigInteger()),
        sa.Column("offsets", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_headwater_reprocesses"),
    )
    op.create_index("ix_headwater_reprocesses_query_id", "headwater_reprocesses", ["query_id"])
    op.create_table(
        "headwater_verifications",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("table_version", sa.BigInteger()),
        sa.Column("twin_version", sa.BigInteger()),
        sa.Column("offsets", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_headwater_verifications"),
    )
    op.create_index("ix_headwater_verifications_query_id", "headwater_verifications", ["query_id"])


def downgrade() -> None:
    """There is nothing before the first schema.

    Raises:
        NotImplementedError: Always: a store is never taken back to an older Headwater.
    """
    raise NotImplementedError
