"""The verbs over static tables give their result at once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from orchestration import stream, window
from orchestration.config import Settings
from orchestration.errors import DeclarationError
from orchestration.runtime.collecting import collect
from orchestration.streams.static import static
from orchestration.testing import MemoryStream

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = [{"ts": START + timedelta(seconds=30 * n), "page": f"/p/{n % 3}", "v": n} for n in range(20)]


@pytest.fixture
def table():
    return pa.Table.from_pylist(ROWS).cast(
        pa.schema({"ts": pa.timestamp("us", "UTC"), "page": pa.string(), "v": pa.int64()})
    )


@pytest.fixture
def settings(tmp_path):
    return Settings.load(home=tmp_path / "home")


def test_windows_over_a_delta_table(table, tmp_path, settings):
    write_deltalake(str(tmp_path / "clicks"), table)
    views = (
        static(tmp_path / "clicks")
        .where("v < 18")
        .group_by(window("ts", "5 minutes"), "page")
        .agg(n="count(*)", total="sum(v)")
    )
    found = (
        collect(views, settings=settings)
        .sort_by([("window_start", "ascending"), ("page", "ascending")])
        .to_pylist()
    )
    assert [(row["window_start"].minute, row["page"], row["n"]) for row in found] == [
        (0, "/p/0", 4), (0, "/p/1", 3), (0, "/p/2", 3),
        (5, "/p/0", 2), (5, "/p/1", 3), (5, "/p/2", 3),
    ]  # fmt: skip
    assert found[0]["total"] == Decimal(0 + 3 + 6 + 9)
    (most,) = collect(views.order_by("n DESC").limit(1), settings=settings).to_pylist()
    assert most["n"] == 4


def test_a_join_of_parquet_and_csv(table, tmp_path, settings):
    pq.write_table(table, tmp_path / "clicks.parquet")
    owners = pa.table({"page": ["/p/0", "/p/1"], "owner": ["ann", None]})
    pyarrow.csv.write_csv(owners, tmp_path / "owners.csv")
    joined = static(tmp_path / "clicks.parquet", format="parquet").join(
        static(
            tmp_path / "owners.csv",
            format="csv",
            schema={"page": "VARCHAR", "owner": "VARCHAR"},
        ),
        on="page",
        how="left",
    )
    found = collect(joined.group_by("owner").agg(n="count(*)"), settings=settings).to_pylist()
    assert {row["owner"]: row["n"] for row in found} == {"ann": 7, None: 13}


def test_a_stream_that_grows_is_refused(settings):
    source = MemoryStream({"v": "BIGINT"}, name="clicks")
    with pytest.raises(DeclarationError, match='"clicks" keeps growing'):
        collect(stream(source), settings=settings)
