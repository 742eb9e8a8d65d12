"""Bad records that fail the batch, or too many of them."""

import pyarrow.parquet as pq
import pytest

from orchestration.engine.base import QUARANTINE_SCHEMA
from orchestration.errors import BadRecords
from tests.engine.support import left_behind

V = {"v": "BIGINT"}


def test_fail_names_file_line_and_reason(ingest, tmp_path):
    with pytest.raises(BadRecords, match=r"in\.json, line 3: v: 5\.7 is not a BIGINT"):
        ingest('{"v":1}\n{"v":2}\n{"v":5.7}\n{bad\n' * 2, V, job={"on_bad_record": "fail"})
    assert left_behind(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("fraction", "fails"), [(0.0, True), (0.09, True), (0.1, False), (1.0, False)]
)
def test_a_part_of_bad_records(ingest, tmp_path, fraction, fails):
    data = '{"v":1}\n' * 90 + "{bad\n" * 10
    if fails:
        with pytest.raises(BadRecords, match="10 of 100 records"):
            ingest(data, V, job={"max_bad_fraction": fraction})
        assert left_behind(tmp_path / "out") == []
    else:
        batch = ingest(data, V, job={"max_bad_fraction": fraction})
        assert batch.output.rows_quarantined == 10


def test_the_files_are_of_the_quarantines_schema(ingest):
    batch = ingest(b"\xff\n{bad\n", V)
    (file,) = batch.output.quarantine
    schema = pq.ParquetFile(batch.root / "quarantine" / file.path).schema_arrow
    assert schema.equals(QUARANTINE_SCHEMA)
    assert file.path.startswith("000003-a1b2-")


def test_more_bad_records_than_are_held_at_once(ingest):
    batch = ingest("{bad\n" * 45_000, V)
    assert batch.output.rows_quarantined == 45_000
    assert [row["line"] for row in batch.bad] == list(range(1, 45_001))
