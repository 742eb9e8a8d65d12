"""The same over a real S3 server."""

import fcntl
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.errors import FileChanged, FileMissing, SourceUnavailable
from orchestration.sources.files import files
from orchestration.sources.spool import clean_spool
from tests.sources.support import Planner, read

AWKWARD = ["a b", "100%", "p%20c", "h#sh", "q?x", "ünï-日本", "quo'te\"", "k=v%2F/x"]


@pytest.fixture
def planner(s3, tmp_path):
    def make(path="landing dir%20", settings=None, **options):
        options = {"format": "json", "schema": {"v": "BIGINT"}} | options
        return Planner(files(f"{s3.uri}/{path}/", **options), tmp_path, **(settings or {}))

    return make


def put(s3, name, data=b"{}\n"):
    return s3.put(f"landing dir%20/{name}", data)


def test_discovery_ignores_hides_and_orders_as_on_disk(s3, planner):
    for name in [*AWKWARD, "_hidden", ".dot", "_tmp/x", "sub/y"]:
        put(s3, name)
    s3.put("landing dir%20-namesake/x", b"")
    s3.client.put_object(Bucket=s3.name, Key="landing dir%20/folder/", Body=b"")
    flat = sorted(name for name in AWKWARD if "/" not in name)
    plan = planner()
    assert sorted(sum(plan.paths(), [])) == flat
    assert plan.paths() == []
    deep = planner(recursive=True)
    assert sorted(sum(deep.paths(), [])) == sorted([*AWKWARD, "sub/y"])


def test_objects_are_fetched_as_planned_and_gone_afterwards(s3, planner, tmp_path):
    for name in AWKWARD:
        put(s3, name, name.encode())
    put(s3, "x.json.gz", b"zipped")
    plan = planner(recursive=True, settings={"scratch": tmp_path / "scratch"})
    (part,) = plan.drain()
    given = plan.open(part)
    groups = given.groups()
    with next(groups) as present:
        assert {item.name: item.local.read_bytes() for item in present} == {
            f"{s3.uri}/landing dir%20/{name}": name.encode() for name in AWKWARD
        } | {f"{s3.uri}/landing dir%20/x.json.gz": b"zipped"}
        assert {item.local.suffix for item in present if item.name.endswith("gz")} == {".gz"}
        assert all(item.local.is_relative_to(plan.settings.spool_dir) for item in present)
    assert list(groups) == []
    assert len(read(given)[0]) == len(read(given)[0]) == len(AWKWARD) + 1
    assert list(plan.settings.spool_dir.iterdir()) == []


def test_the_spool_stays_within_its_budget(s3, planner):
    for number in range(10):
        put(s3, f"f{number}", os.urandom(100))
    put(s3, "huge", os.urandom(5000))
    plan = planner(settings={"spool_bytes": 450})
    (part,) = plan.drain()
    sizes, most = [], 0
    for group in plan.open(part).groups():
        with group as present:
            lying = sum(
                path.stat().st_size for path in plan.settings.spool_dir.rglob("*") if path.is_file()
            )
            if all(item.size < 5000 for item in present):
                most = max(most, lying)
            sizes.append([item.size for item in present])
    assert sorted(sum(sizes, [])) == [100] * 10 + [5000]
    assert [5000] in sizes
    assert max(len(group) for group in sizes) == 2
    assert most <= 450


def test_a_rewritten_object(s3, planner):
    put(s3, "a", b"first")
    plan = planner(on_rewrite="reprocess")
    (part,) = plan.drain()
    put(s3, "a", b"first")  # the same bytes again
    assert plan.paths() == []
    assert read(plan.open(part)) == [{f"{s3.uri}/landing dir%20/a": b"first"}]
    put(s3, "a", b"other")
    with pytest.raises(FileChanged, match="landing dir%20/a"):
        read(plan.open(part))
    (again,) = plan.drain()
    assert read(plan.open(again)) == [{f"{s3.uri}/landing dir%20/a": b"other"}]


def test_a_vanished_object(s3, planner, tmp_path):
    for name in "abc":
        put(s3, name, name.encode())
    plan = planner()
    (part,) = plan.drain()
    s3.delete("landing dir%20/b")
    with pytest.raises(FileMissing, match="landing dir%20/b"):
        read(plan.open(part))
    lenient = planner(on_missing="quarantine")
    given = lenient.open(part)
    assert [sorted(group.values()) for group in read(given)] == [[b"a", b"c"]]
    assert list(given.missing) == [f"{s3.uri}/landing dir%20/b"]
    assert list(plan.settings.spool_dir.iterdir()) == []


def test_a_vanished_bucket_is_not_a_vanished_file(s3, planner):
    put(s3, "a")
    plan = planner(on_missing="quarantine")
    (part,) = plan.drain()
    s3.delete("landing dir%20/a")
    s3.client.delete_bucket(Bucket=s3.name)
    with pytest.raises(SourceUnavailable, match="bucket"):
        read(plan.open(part))
    with pytest.raises(SourceUnavailable, match="bucket"):
        plan.poll()


def test_wrong_credentials(s3, planner, monkeypatch):
    put(s3, "a")
    plan = planner()
    (part,) = plan.drain()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-wrong")
    for attempt in (plan.poll, lambda: read(plan.open(part))):
        with pytest.raises(SourceUnavailable) as caught:
            attempt()
        assert "canary" not in str(caught.value)
        assert "credentials" in caught.value.remedy


def test_an_engine_that_gives_up_leaves_no_spool(s3, planner):
    for number in range(4):
        put(s3, f"f{number}", os.urandom(100))
    plan = planner(settings={"spool_bytes": 200})
    (part,) = plan.drain()

    def stumble():
        for group in plan.open(part).groups():
            with group:
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        stumble()
    clean_spool(plan.settings.spool_dir)
    assert list(plan.settings.spool_dir.iterdir()) == []


def test_leftovers_of_the_dead_are_cleaned_and_those_of_the_living_stay(tmp_path):
    for name in ("dead", "alive"):
        (tmp_path / f"fetch-{name}").mkdir()
        (tmp_path / f"fetch-{name}" / "x").write_bytes(b"1")
        (tmp_path / f"fetch-{name}.lock").touch()
    (tmp_path / "stage-of-somebody").mkdir()
    with (tmp_path / "fetch-alive.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clean_spool(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fetch-alive",
        "fetch-alive.lock",
        "stage-of-somebody",
    ]


def test_a_bucket_without_such_files_exists_and_is_empty(planner):
    backlog = planner().poll()
    assert backlog.empty
    assert backlog.exists


def test_max_rows_reads_footers_only(s3, planner):
    for number, rows in enumerate([3, 2, 4]):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"v": list(range(rows))}), sink)
        put(s3, f"f{number}", sink.getvalue().to_pybytes())
    assert max(planner(format="parquet", max_rows=5).paths()) == ["f2"]


class TestLexicalListing:
    """Only what sorts after the last key is asked for, until all is listed again."""

    def test_new_keys_that_sort_last_are_found(self, s3, planner):
        put(s3, "2026-01.json")
        plan = planner(listing="lexical")
        assert plan.paths() == [["2026-01.json"]]
        assert plan.ledger.listing["after"] == "2026-01.json"
        put(s3, "2026-02.json")
        assert plan.paths() == [["2026-02.json"]]
        assert plan.paths() == []

    def test_keys_that_sort_before_wait_for_the_full_listing(self, s3, planner):
        put(s3, "b")
        plan = planner(listing="lexical", full_listing_every_runs=2)
        assert plan.paths() == [["b"]]
        put(s3, "a")
        assert plan.paths() == []
        assert plan.paths() == []
        assert plan.paths() == [["a"]]

    def test_or_until_the_hours_have_passed(self, s3, planner):
        put(s3, "b")
        plan = planner(listing="lexical", full_listing_every_hours=1)
        plan.drain()
        put(s3, "a")
        assert plan.paths() == []
        plan.clock.advance(3601)
        assert plan.paths() == [["a"]]

    def test_what_was_listed_and_not_planned_is_listed_again(self, s3, planner):
        for name in "abcd":
            put(s3, name)
        plan = planner(listing="lexical", max_files=3)
        part, rest = plan.take(plan.poll())
        plan.ledger.log(part, rest.listing)  # … and the run dies here
        assert plan.ledger.listing.get("after") is None
        (again,) = plan.paths()
        assert {entry.path for entry in part.files} | set(again) == set("abcd")

    def test_files_that_wait_hold_the_listing_back(self, s3, planner):
        put(s3, "a")
        plan = planner(listing="lexical", min_age="1 hour")
        now = plan.clock.now()
        modified = s3.client.list_objects_v2(Bucket=s3.name)["Contents"][0]["LastModified"]
        plan.clock.advance(modified - now)
        assert plan.paths() == []
        assert plan.ledger.listing["after"] == ""
        plan.clock.advance(3601)
        assert plan.paths() == [["a"]]
        assert plan.ledger.listing["after"] == "a"
