"""What makes no sense is refused where it is written, with what to write instead."""

import subprocess
import sys

import pytest

from orchestration.errors import DeclarationError, SchemaError
from orchestration.sources.base import Limits
from orchestration.sources.files import files
from orchestration.streams.source import StreamSource

SCHEMA = {"v": "BIGINT"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": ""}, "expected a directory"),
        ({"path": 7}, "expected a directory"),
        ({"path": "gs://bucket/x"}, "gs://bucket/x"),
        ({"path": "s3://"}, "expected a directory"),
        ({"path": "landing/*.json"}, "holds a pattern"),
        ({"format": "jsn"}, "did you mean 'json'"),
        ({"format": "avro"}, "not known"),
        ({"name": ""}, "cannot name a source"),
        ({"name": "a b"}, "cannot name a source"),
        ({"glob": ""}, "matches nothing"),
        ({"glob": "/x"}, "matches nothing"),
        ({"glob": "[a"}, "not closed"),
        ({"glob": "{a"}, "not closed"),
        ({"partitions": {"dt": "DATE"}, "recursive": False}, "recursive=False"),
        ({"min_age": "soon"}, "soon"),
        ({"min_age": "0 seconds"}, "min_age"),
        ({"on_rewrite": "again"}, "on_rewrite='again'"),
        ({"on_missing": "ignore"}, "on_missing='ignore'"),
        ({"on_bad_record": "drop"}, "on_bad_record='drop'"),
        ({"listing": "partial"}, "listing='partial'"),
        ({"full_listing_every_runs": 0}, "full_listing_every_runs=0"),
        ({"full_listing_every_hours": 0}, "full_listing_every_hours=0"),
        ({"max_files": 0}, "max_files=0"),
        ({"max_files": True}, "max_files=True"),
        ({"max_bytes": "much"}, "max_bytes"),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"max_rows": 5}, "json files do not say"),
        ({"max_line_bytes": -1}, "max_line_bytes=-1"),
        ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"timezone": "/etc/passwd"}, "/etc/passwd"),
        ({"max_bad_fraction": 1.5}, "max_bad_fraction=1.5"),
        ({"max_bad_fraction": 0.1, "on_bad_record": "fail"}, "no meaning"),
        ({"delimiter": ";"}, "delimiter"),
        ({"format": "csv", "delimiter": ";;"}, "one ASCII character"),
        ({"format": "csv", "quote": "\n"}, "one ASCII character"),
        ({"format": "csv", "delimiter": '"'}, "are both"),
    ],
)
def test_refused(options, said):
    with pytest.raises(DeclarationError) as caught:
        files(**({"path": "landing", "schema": SCHEMA} | options))
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "options",
    [
        {"schema": "guess"},
        {"schema": {}},
        {"schema": {"v": "BIGNIT"}},
        {"schema": {"V": "BIGINT", "v": "BIGINT"}},
        {"schema": {"_file": "VARCHAR"}},
        {"partitions": {"v": "DATE"}},
        {"partitions": {"V": "DATE"}},
        {"partitions": ["dt"]},
        {"partitions": {"dt": "DAET"}},
    ],
)
def test_refused_schemas(options):
    with pytest.raises(SchemaError) as caught:
        files("landing", **({"schema": SCHEMA} | options))
    assert caught.value.remedy


def test_defaults():
    source = files("landing/clicks/", schema=SCHEMA)
    assert isinstance(source, StreamSource)
    assert source.name == "files"
    assert source.path == "landing/clicks"
    assert source.limits == Limits(max_files=1000, max_bytes=1024**3)
    assert source.on_bad_record == "quarantine"
    assert source.format.max_line_bytes == 16 * 1024**2
    assert not source.recursive
    assert files("landing", partitions={"dt": "DATE"}).recursive
    assert files("landing").schema is None


def test_sizes_may_be_written_out():
    source = files("x", schema=SCHEMA, max_bytes="2GiB", max_line_bytes="1MiB", max_files=None)
    assert source.limits == Limits(None, 2 * 1024**3)
    assert source.format.max_line_bytes == 1024**2


def test_it_describes_itself_without_secrets():
    source = files("s3://bucket/a?token=canary", "csv", SCHEMA, delimiter=";", glob="*.csv")
    assert "canary" not in str(source.describe()) + source.description
    assert source.describe()["kind"] == "files"
    assert source.describe()["format"] == "csv"
    assert source.describe()["schema"] == {"v": "BIGINT"}
    assert "csv files" in source.description


def test_equal_declarations_are_equal():
    assert files("x", schema=SCHEMA) == files("x/", schema=SCHEMA)
    assert files("x", schema=SCHEMA) != files("x", schema=SCHEMA, glob="*")


def test_declaring_loads_no_engine_and_no_client():
    code = (
        "import sys\n"
        "from orchestration.sources.files import files\n"
        "files('s3://bucket/x', schema={'v': 'BIGINT'}, min_age='1 second')\n"
        "heavy = {'duckdb', 'deltalake', 'boto3', 'botocore', 'obstore', 'sqlalchemy',"
        " 'dagster', 'pyarrow.parquet', 'pydantic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
