"""What Alembic runs to migrate; the connection comes from ``migrate.py``, transaction and all."""

from alembic import context

from orchestration.cursors.models import VERSION_TABLE, metadata

__all__: list[str] = []

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite can too, as long as nobody commits in between: all of it or nothing.
    transactional_ddl=True,
)
context.run_migrations()
