"""A table and its memory in DuckDB, and batches put into them as the engine says."""

import duckdb
import pyarrow as pa

from orchestration.engine.changes.apply import (
    apply_changes,
    memory_keys,
    memory_schema,
    read_changes,
    table_schema,
)
from orchestration.streams.quoting import quote_identifier


def listed(names, relation=""):
    return ", ".join(relation + quote_identifier(name) for name in names)


def same(names, left, right):
    parts = (f"{left}.{c} IS NOT DISTINCT FROM {right}.{c}" for c in map(quote_identifier, names))
    return " AND ".join(parts)


class Kept:
    """What a caller of the engine does, with tables in memory.

    Only rows of the batch's keys are shown to the engine, but where it says that it wants all.
    """

    def __init__(self, spec, schema):
        self.spec, self.schema = spec, schema
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET preserve_insertion_order = false")
        for name, kinds in (
            ("kept", table_schema(self.connection, spec, schema)),
            ("memory", memory_schema(self.connection, spec, schema)),
        ):
            self.connection.register("empty", kinds.empty_table())
            self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM empty")
            self.connection.unregister("empty")
        self.added = self.removed = self.remembered = 0
        self.counts = None

    def batch(self, rows):
        """Put changes into the table: dicts, or an Arrow table."""
        spec, run = self.spec, self.connection.execute
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, self.schema)
        self.connection.register("batch", table)
        changes = read_changes(self.connection, spec, changes="batch", prefix="hw")
        for name in ("kept", "memory"):
            among = f"SEMI JOIN {changes.keys} AS k ON {same(spec.keys, 'x', 'k')}"
            run(
                f"CREATE TEMP VIEW {name}_seen AS SELECT *, rowid AS place FROM {name} AS x "
                f"{'' if changes.whole else among}"
            )
        applied = apply_changes(
            self.connection,
            spec,
            changes=changes,
            current="kept_seen",
            memory="memory_seen",
            prefix="hw",
            carry=("place",),
        )
        for name in ("add", "remove", "gone", "memory"):
            run(f"CREATE TABLE out_{name} AS SELECT * FROM {getattr(applied, name)}")
        applied.drop(self.connection)
        run("DROP VIEW kept_seen; DROP VIEW memory_seen")
        assert not run("SELECT * FROM duckdb_tables() WHERE table_name LIKE 'hw%'").fetchall()
        self.counts = applied.counts
        self._replace()
        self.connection.unregister("batch")

    def _replace(self):
        spec, run = self.spec, self.connection.execute
        identity = same(spec.identity, "kept", "o")
        by_name = run(f"SELECT count(*) FROM kept SEMI JOIN out_remove AS o ON {identity}")
        count = by_name.fetchall()[0][0]
        run("DELETE FROM kept WHERE rowid IN (SELECT place FROM out_remove)")
        assert count == run("SELECT count(*) FROM out_remove").fetchall()[0][0]
        assert not run(f"SELECT * FROM kept SEMI JOIN out_remove o ON {identity}").fetchall()
        run(f"INSERT INTO kept BY NAME SELECT {listed(spec.table_columns)} FROM out_add")
        of_added = same(spec.identity, "r", "a")
        gone = f"SELECT {listed(spec.identity, 'r.')} FROM out_remove AS r ANTI JOIN out_add AS a ON {of_added}"
        assert not run(f"({gone}) EXCEPT ALL FROM out_gone").fetchall()
        assert not run(f"FROM out_gone EXCEPT ALL ({gone})").fetchall()
        facts = same(memory_keys(spec), "memory", "o")
        run(f"DELETE FROM memory WHERE EXISTS (SELECT 1 FROM out_memory AS o WHERE {facts})")
        run("INSERT INTO memory BY NAME SELECT * FROM out_memory")
        self.added, self.removed, self.remembered = (
            run(f"SELECT count(*) FROM out_{name}").fetchall()[0][0]
            for name in ("add", "remove", "memory")
        )
        run("DROP TABLE out_add; DROP TABLE out_remove; DROP TABLE out_gone; DROP TABLE out_memory")

    def rows(self):
        """The table's rows, as tuples."""
        found = self.connection.execute(f"SELECT {listed(self.spec.table_columns)} FROM kept")
        return sorted(found.fetchall(), key=repr)

    def close(self):
        self.connection.close()
