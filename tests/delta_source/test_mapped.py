"""Column mapping: files whose columns have other names than the table's."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.errors import TableColumnsChanged
from orchestration.runtime.crashpoints import CRASH_POINTS
from tests.delta_source.table import Follower

MAPPED = {"delta.columnMapping.mode": "name"}


def rows(*ids):
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "p": [f"p{n % 2}" for n in ids],
            "s": [{"x": n, "l": [{"y": f"y{n}"}]} for n in ids],
        }
    )


def rename(f, old, new):
    """What ALTER TABLE … RENAME COLUMN commits."""
    log = Path(f.where) / "_delta_log"
    (line,) = [
        item for item in (log / f"{0:020d}.json").read_text().splitlines() if '"metaData"' in item
    ]
    action = json.loads(line)
    schema = json.loads(action["metaData"]["schemaString"])
    for field in schema["fields"]:
        if field["name"] == old:
            field["name"] = new
    action["metaData"]["schemaString"] = json.dumps(schema)
    info = {"commitInfo": {"timestamp": 1, "operation": "RENAME COLUMN"}}
    path = log / f"{f.there.version() + 1:020d}.json"
    path.write_text(f"{json.dumps(info)}\n{json.dumps(action)}\n")


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_columns_partitions_and_what_is_inside_come_by_the_tables_names(tmp_path, point):
    f = Follower(tmp_path, max_files=1)
    f.write(rows(0, 1), partition_by=["p"], configuration=MAPPED)
    assert f.crash_at(point)
    f.write(rows(2, 3))
    f.run()
    found = f.copied().sort("id")
    assert found.columns == ["id", "s", "p"] or found.columns == ["id", "p", "s"]
    assert found["p"].to_list() == ["p0", "p1", "p0", "p1"]
    assert found["s"].to_list() == [{"x": n, "l": [{"y": f"y{n}"}]} for n in range(4)]
    f.query.reprocess()
    assert f.query.verify().outcome == "identical"


def test_a_renamed_column_stops_it_until_it_is_declared(tmp_path):
    f = Follower(tmp_path, schema={"id": "BIGINT", "p": "VARCHAR"})
    f.write(rows(0, 1), configuration=MAPPED)
    f.run()
    g = Follower(tmp_path, name="inferred", where=f.where)
    g.run()
    f.write(rows(2))
    rename(f, "p", "q")
    f.write(pa.table({"id": [3], "q": ["new"], "s": [{"x": 3, "l": [{"y": "y3"}]}]}))
    g.run()
    with pytest.raises(TableColumnsChanged, match="q VARCHAR is new, p is gone"):
        g.run()
    g.options["schema"] = {"id": "BIGINT", "q": "VARCHAR"}
    late = Follower(tmp_path, name="late", where=f.where, schema=g.options["schema"])
    late.run()
    found = late.copied().sort("id")
    assert found["q"].to_list() == ["p0", "p1", "p0", "new"]


def test_its_changes(tmp_path):
    f = Follower(tmp_path, change_feed=True)
    f.write(rows(0, 1), configuration={**MAPPED, "delta.enableChangeDataFeed": "true"})
    f.run()
    f.write(rows(2))
    f.run()
    found = f.copied().sort("_sequence")
    assert found.select("_op", "id", "p").rows() == [
        ("read", 0, "p0"),
        ("read", 1, "p1"),
        ("insert", 2, "p0"),
    ]


def test_a_table_that_is_mapped_later(tmp_path):
    f = Follower(tmp_path)
    f.write()
    f.run()
    f.write()
    log = Path(f.where) / "_delta_log"
    (line,) = [
        item for item in (log / f"{0:020d}.json").read_text().splitlines() if '"metaData"' in item
    ]
    action = json.loads(line)
    schema = json.loads(action["metaData"]["schemaString"])
    for number, field in enumerate(schema["fields"], 1):
        field["metadata"] = {
            "delta.columnMapping.id": number,
            "delta.columnMapping.physicalName": field["name"],
        }
    action["metaData"] |= {
        "schemaString": json.dumps(schema),
        "configuration": {**MAPPED, "delta.columnMapping.maxColumnId": "2"},
    }
    protocol = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    (log / f"{2:020d}.json").write_text(f"{json.dumps(protocol)}\n{json.dumps(action)}\n")
    f.write()
    f.run()
    assert f.ids() == list(range(9))
