import json
from dataclasses import replace

import pytest

from orchestration.cursors.logfiles import BatchLog
from orchestration.cursors.records import Generation
from orchestration.errors import CursorStoreBehindSink, CursorStoreError, CursorStoreUnavailable
from orchestration.objects import Place
from tests.cursors.support import AT, entries, make_plan, make_seal

GENERATION = Generation(
    "clicks", 1, "cafe0123", "active", {"a": 1}, {"x": "BIGINT"}, {"sink": "i"}, AT
)


@pytest.fixture
def place(tmp_path):
    return Place.open(str(tmp_path / "state" / "clicks"))


@pytest.fixture
def log(place):
    return BatchLog(place, GENERATION)


def test_files_are_versioned_json_where_they_are_said_to_be(log, place):
    plan = make_plan(0, entries(0, 2))
    log.write_generation()
    log.write_plan(plan)
    log.write_seal(0, make_seal(plan))
    root = place.local_path / "1-cafe0123"
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*.json"))
    assert files == [
        "generation.json",
        "log/00000000000000000000.plan.json",
        "log/00000000000000000000.seal.json",
    ]
    for name in files:
        first, document, rest = (root / name).read_text().split("\n")
        assert (first, rest) == ("v1", "")
        json.loads(document)


def test_everything_comes_back_equal_and_in_order(log, place):
    plans = [make_plan(n, entries(n, n + 1), start=n) for n in range(12)]
    log.write_generation()
    for plan in plans:
        log.write_plan(plan)
        log.write_seal(plan.batch_id, make_seal(plan))
    read = list(log.read_all())
    assert [entry.plan for entry in read] == plans
    assert [entry.plan.hash for entry in read] == [plan.hash for plan in plans]
    assert [entry.seal for entry in read] == [make_seal(plan) for plan in plans]
    assert all(not entry.torn and entry.sealed_at.year > 2020 for entry in read)
    (found,), torn = BatchLog.find(place)
    assert (found.generation, torn) == (GENERATION, ())


def test_a_plan_is_probed_for_by_name(log):
    assert not log.has_plan(0)
    log.write_plan(make_plan(0, entries(0, 1)))
    assert log.has_plan(0)
    assert not log.has_plan(1)


def test_a_plan_is_written_once_and_another_one_shows_an_older_store(log):
    plan = make_plan(0, entries(0, 1))
    log.write_plan(plan)
    log.write_plan(plan)
    with pytest.raises(CursorStoreBehindSink, match="planned before") as caught:
        log.write_plan(make_plan(0, entries(0, 2)))
    assert "rebuild clicks" in caught.value.remedy
    assert next(log.read_all()).plan == plan


def test_a_torn_plan_is_written_anew(log, place):
    plan = make_plan(0, entries(0, 1))
    log.write_plan(plan)
    path = place.local_path / "1-cafe0123/log/00000000000000000000.plan.json"
    path.write_bytes(path.read_bytes()[:40])
    log.write_plan(plan)
    assert next(log.read_all()).plan == plan


def test_a_rebuilt_seal_replaces_the_first(log):
    plan = make_plan(0, entries(0, 1))
    log.write_plan(plan)
    for attempt in ("a1", "a2", "a2"):
        log.write_seal(0, make_seal(plan, attempt))
    assert next(log.read_all()).seal.attempt == "a2"


def test_a_generation_that_changed_is_written_again(log, place):
    log.write_generation()
    changed = replace(GENERATION, table_ids={"sink": "i", "quarantine": "j"})
    BatchLog(place, changed).write_generation()
    (found,), _ = BatchLog.find(place)
    assert found.generation == changed


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"\0" * len(data),
        lambda data: data.replace(b"in/000000", b"in/000001"),
        lambda data: b"v1\n[]\n",
        lambda data: b"v1\n{}\n",
    ],
    ids=["empty", "no end", "half", "zeros", "another path", "a list", "nothing in it"],
)
def test_damaged_files_are_noticed(log, place, damage):
    log.write_plan(make_plan(0, entries(0, 1)))
    name = "1-cafe0123/log/00000000000000000000.plan.json"
    path = place.local_path / name
    path.write_bytes(damage(path.read_bytes()))
    (entry,) = log.read_all()
    assert (entry.plan, entry.torn) == (None, (name,))


def test_files_of_a_later_format_are_refused(log, place):
    log.write_plan(make_plan(0, entries(0, 1)))
    path = place.local_path / "1-cafe0123/log/00000000000000000000.plan.json"
    path.write_bytes(path.read_bytes().replace(b"v1", b"v2", 1))
    with pytest.raises(CursorStoreError, match="format v2; this Headwater reads v1"):
        list(log.read_all())


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    log = BatchLog(Place.open(str(tmp_path / "file" / "clicks")), GENERATION)
    with pytest.raises(CursorStoreUnavailable, match="log files"):
        log.write_plan(make_plan(0, ()))
