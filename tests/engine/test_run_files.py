"""Row groups of a run: what is read of them is what reading everything gives."""

import duckdb
import numpy as np
import pytest

from orchestration.engine.stateful.run_files import EXPIRY, GROUP_ROWS, HASH, RunFile

ROWS = 20 * GROUP_ROWS + 7


@pytest.fixture(scope="module", params=["expiry", "span"])
def run(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run.parquet"
    order = f"{EXPIRY}, {HASH}" if request.param == "expiry" else f"{EXPIRY} // 10000, {HASH}"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT i AS k, (i * 7919) % 40000 AS {EXPIRY}, "
            f"CAST(hash(i) >> 1 AS BIGINT) AS {HASH} FROM range({ROWS}) r(i) ORDER BY {order}) "
            f"TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {GROUP_ROWS})"
        )
        rows = connection.sql(f"FROM '{path}'").to_arrow_table()
    return RunFile(path), rows


@pytest.mark.parametrize(
    ("after", "through"), [(-1, 50_000), (500, 510), (0, 9_999), (9_000, 21_000), (39_999, 60_000)]
)
def test_rows_by_when_they_expire(run, after, through):
    file, rows = run
    values = rows[EXPIRY].to_numpy()
    wanted = np.sort(rows["k"].to_numpy()[(values > after) & (values <= through)])
    for _ in range(2):  # the second time some of it is in memory
        groups = np.flatnonzero(file.live(after, through)).tolist()
        assert (file.count_between(groups, after, through) if groups else 0) == len(wanted)
        found = file.rows_between(groups, after, through, ["k"]) if groups else rows[:0]
        if found is not None:
            assert np.sort(found["k"].to_numpy()).tolist() == wanted.tolist()
    later = values[values > after]
    assert file.earliest(after) == (int(later.min()) if len(later) else None)


def test_rows_of_some_hashes(run):
    file, rows = run
    hashes = np.unique(np.concatenate([rows[HASH].to_numpy()[5:9000:3000], [17]]))
    groups = np.flatnonzero(file.holding(hashes) & file.live(-1, 10**6)).tolist()
    found = file.rows_of(groups, hashes, ["k", HASH])
    assert sorted(found["k"].to_pylist()) == sorted(rows["k"].to_pylist()[5:9000:3000])
    nothing = file.rows_of(groups, np.array([17]), ["k", HASH])
    assert nothing.num_rows == 0


def test_too_many_to_pick_out(run):
    file, rows = run
    hashes = np.unique(rows[HASH].to_numpy()[::100])
    groups = list(range(file.groups))
    assert file.rows_of(groups, hashes, ["k"]) is None
