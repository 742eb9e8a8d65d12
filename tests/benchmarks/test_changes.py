"""Small version of the benchmark of changes: what it compares is the same, and right."""

import duckdb
from deltalake import DeltaTable

from benchmarks import changes


def test_query_and_bare_copy_on_write_make_the_same_rows(tmp_path):
    changes.fill(tmp_path, "scd1", 2_000)
    (tmp_path / "home").rename(tmp_path / "filled")
    changes.restore(tmp_path)
    table = [str(path) for path in (tmp_path / "filled/tables/changes").glob("*.parquet")]
    changes.bare(tmp_path, table, tmp_path / "bare")
    changes.run(tmp_path, "scd1")
    assert changes.right(tmp_path)
    files = DeltaTable(tmp_path / "home/tables/changes").file_uris()
    with duckdb.connect() as connection:
        ours = connection.execute(f"FROM read_parquet({files}) ORDER BY id").fetchall()
        theirs = connection.execute(f"FROM '{tmp_path}/bare/*.parquet' ORDER BY id").fetchall()
    assert ours == theirs
    assert ours
