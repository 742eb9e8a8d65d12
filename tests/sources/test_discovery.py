"""Every file is found once, whatever its time or name; what is odd is said."""

import os
from datetime import timedelta

import pytest

from orchestration.errors import DeclarationError, FileRewritten, SourceUnavailable
from orchestration.sources.base import UNLIMITED, Limits
from orchestration.sources.files import files
from tests.sources.support import Planner, touch, write


@pytest.fixture
def landing(tmp_path):
    path = tmp_path / "landing"
    path.mkdir()
    return path


@pytest.fixture
def planner(tmp_path):
    def make(**options):
        return Planner(files("landing", "json", {"v": "BIGINT"}, **options), tmp_path)

    return make


def test_f1_ordered_by_time_and_cut_by_max_files(landing, planner):
    for at, name in enumerate(["c1", "b2", "a3", "d4", "e5"]):
        write(landing, name, at=at)
    assert planner(max_files=2).paths() == [["c1", "b2"], ["a3", "d4"], ["e5"]]


def test_f2_nothing_new_is_no_batch(landing, planner):
    write(landing, "a")
    plan = planner()
    assert plan.paths() == [["a"]]
    assert plan.paths() == []
    backlog = plan.poll()
    assert backlog.empty
    assert backlog.seen == 1
    assert backlog.notes == ()


def test_f3_an_unseen_file_with_an_older_time_is_read(landing, planner):
    write(landing, "b", at=100)
    plan = planner()
    plan.drain()
    write(landing, "a", at=1)
    write(landing, "same-second", at=100)
    write(landing, "0-sorts-first", at=50)
    assert plan.paths() == [["a", "0-sorts-first", "same-second"]]


def test_f4_a_rewritten_file_is_ignored_and_named(landing, planner):
    write(landing, "a", at=1)
    plan = planner()
    plan.drain()
    write(landing, "a", b"{}{}\n", at=2)
    backlog = plan.poll()
    assert backlog.empty
    assert len(backlog.notes) == 1
    assert "a" in backlog.notes[0]
    assert "rewritten" in backlog.notes[0]


def test_f4_a_rewritten_file_is_read_again_on_request(landing, planner):
    write(landing, "a", at=1)
    write(landing, "b", at=1)
    plan = planner(on_rewrite="reprocess")
    plan.drain()
    write(landing, "a", b"{}{}\n", at=2)
    assert plan.poll().seen == 2
    assert plan.paths() == [["a"]]
    assert plan.paths() == []
    assert plan.ledger.offset == {"files": 3}


def test_f4_a_rewritten_file_fails_on_request(landing, planner):
    write(landing, "a", at=1)
    plan = planner(on_rewrite="fail")
    plan.drain()
    touch(landing / "a", 2)
    with pytest.raises(FileRewritten, match="a") as caught:
        plan.poll()
    assert "reprocess" in caught.value.remedy


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([10, 9, 9, 9, 9, 10], 18, [[10], [9, 9], [9, 9], [10]]),
        ([50, 1, 1], 18, [[50], [1, 1]]),
        ([1, 50, 1], 18, [[1], [50], [1]]),
        ([0, 0, 0], 1, [[0, 0, 0]]),
    ],
)
def test_f7_max_bytes(landing, planner, sizes, limit, expected):
    for at, size in enumerate(sizes):
        write(landing, f"f{at}", b"x" * size, at=at)
    parts = planner(max_bytes=limit).drain()
    assert [[entry.size for entry in part.files] for part in parts] == expected
    assert [part.bytes for part in parts] == [sum(group) for group in expected]


def test_offsets_are_ranges_of_the_ledger(landing, planner):
    for at in range(5):
        write(landing, f"f{at}", at=at)
    parts = planner(max_files=2).drain()
    assert [(part.start, part.end) for part in parts] == [
        ({"files": 0}, {"files": 2}),
        ({"files": 2}, {"files": 4}),
        ({"files": 4}, {"files": 5}),
    ]
    assert all(part.latest == {"files": 5} for part in parts)


def test_a_trigger_may_change_the_limits(landing, planner):
    for at in range(5):
        write(landing, f"f{at}", at=at)
    plan = planner(max_files=2)
    assert plan.source.limits.tightened(Limits(max_files=3)).max_files == 3
    assert plan.source.limits.tightened(UNLIMITED) == plan.source.limits
    assert [len(group) for group in plan.paths(UNLIMITED)] == [5]


def test_take_changes_nothing_but_what_it_returns(landing, planner):
    for at in range(3):
        write(landing, f"f{at}", at=at)
    plan = planner(max_files=2)
    backlog = plan.poll()
    assert plan.take(backlog) == plan.take(backlog)
    part, rest = plan.take(backlog)
    assert (rest.bytes, len(rest.files)) == (backlog.bytes - part.bytes, 1)
    assert backlog.oldest == part.files[0].modified


def test_f14_hidden_names_and_subdirectories(landing, planner):
    for name in ("a.json", "_hidden.json", ".dot.json", "sub/s.json", "_sub/x", ".sub/x"):
        write(landing, name)
    write(landing, "sub/_t/x")
    write(landing, "sub/_year=2026/y.json")
    assert planner().paths() == [["a.json"]]
    assert planner(recursive=True).paths() == [["a.json", "sub/_year=2026/y.json", "sub/s.json"]]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.json", ["a.json", "eu/c.json", "eu/de/d.json"]),
        ("eu/*.json", ["eu/c.json"]),
        ("eu/**/*.json", ["eu/c.json", "eu/de/d.json"]),
        ("**/d.json", ["eu/de/d.json"]),
        ("?.{json,csv}", ["a.json", "b.csv", "eu/c.json", "eu/de/d.json"]),
        ("[!a-b]*", ["eu/c.json", "eu/de/d.json"]),
        ("A.json", []),
    ],
)
def test_glob(landing, planner, glob, expected):
    for name in ("a.json", "b.csv", "eu/c.json", "eu/de/d.json"):
        write(landing, name)
    assert sorted(sum(planner(glob=glob, recursive=True).paths(), [])) == expected


def test_awkward_names(landing, planner):
    names = ["a b", "100%", "p%20c", "h#sh", "q?x", "ünï-日本", "quo'te\"", "new\nline", "-", "\\"]
    for name in names:
        write(landing, name)
    assert sorted(sum(planner().paths(), [])) == sorted(names)


def test_a_name_that_is_not_text_is_told_and_not_lost_silently(landing, planner):
    os.close(os.open(os.fsencode(landing) + b"/bad\xff.json", os.O_CREAT | os.O_WRONLY))
    write(landing, "good")
    backlog = planner().poll()
    assert [entry.path for entry in backlog.files] == ["good"]
    assert "not UTF-8" in backlog.notes[0]
    backlog.notes[0].encode()


def test_a_directory_named_like_a_file_is_a_directory(landing, planner):
    write(landing, "x.json/y.json")
    assert planner().paths() == []
    assert planner(recursive=True).paths() == [["x.json/y.json"]]


def test_links_do_not_lead_in_circles(landing, planner, tmp_path):
    write(tmp_path, "elsewhere/f.json")
    (landing / "link.json").symlink_to(tmp_path / "elsewhere" / "f.json")
    (landing / "dangling").symlink_to(tmp_path / "nowhere")
    (landing / "sub").mkdir()
    (landing / "sub" / "circle").symlink_to(landing)
    plan = planner(recursive=True)
    backlog = plan.poll()
    assert [entry.path for entry in backlog.files] == ["link.json"]
    assert any("sub/circle" in note and "not followed" in note for note in backlog.notes)
    assert any("dangling" in note for note in backlog.notes)


def test_a_pipe_is_passed_over(landing, planner):
    os.mkfifo(landing / "pipe")
    backlog = planner().poll()
    assert backlog.empty
    assert "pipe" in backlog.notes[0]


def test_a_landing_directory_that_does_not_exist_yet(planner, landing):
    landing.rmdir()
    plan = planner()
    backlog = plan.poll()
    assert backlog.empty
    assert not backlog.exists
    write(landing, "a")
    assert plan.poll().exists
    assert plan.paths() == [["a"]]


def test_a_file_in_place_of_the_directory(landing, planner):
    landing.rmdir()
    landing.write_bytes(b"")
    with pytest.raises(DeclarationError, match="is a file; expected a directory"):
        planner().poll()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_directory_that_may_not_be_listed(landing, planner):
    landing.chmod(0)
    try:
        with pytest.raises(SourceUnavailable, match="Permission denied"):
            planner().poll()
    finally:
        landing.chmod(0o700)


def test_vanished_files_are_named(landing, planner):
    for name in "abcde":
        write(landing, name)
    plan = planner()
    plan.drain()
    for name in "abcd":
        (landing / name).unlink()
    (note,) = plan.poll().notes
    assert note == "4 files are gone since they were planned: a, b, c and 1 more"


def test_min_age_leaves_young_files_for_later(landing, planner):
    plan = planner(min_age="30 seconds")
    now = int((plan.clock.now() - plan.clock.now().replace(month=1, day=1)).total_seconds())
    write(landing, "old", at=now - 30)
    write(landing, "young", at=now - 29)
    write(landing, "skewed clock", at=now + 5)
    write(landing, "far future", at=now + 10**8)
    backlog = plan.poll()
    assert [entry.path for entry in backlog.files] == ["old", "far future"]
    assert "2 files" in backlog.notes[0]
    plan.drain()
    plan.clock.advance(timedelta(seconds=40))
    assert plan.paths() == [["young", "skewed clock"]]


def test_a_young_rewrite_waits_too(landing, planner):
    plan = planner(min_age="30 seconds", on_rewrite="reprocess")
    now = int((plan.clock.now() - plan.clock.now().replace(month=1, day=1)).total_seconds())
    write(landing, "a", at=0)
    plan.drain()
    write(landing, "a", b"new", at=now)
    assert plan.poll().empty
    plan.clock.advance(31)
    assert plan.paths() == [["a"]]


def test_existing_files_may_be_left_out(landing, planner):
    write(landing, "old ü", at=1)
    plan = planner(include_existing=False)
    first = plan.poll()
    assert first.empty
    assert first.must_record
    assert "old ü" in first.notes[0]
    plan.ledger.keep(first)
    write(landing, "older than old", at=0)
    write(landing, "new", at=2)
    assert plan.paths() == [["older than old", "new"]]
    assert plan.paths() == []
    assert not plan.poll().must_record
    assert plan.poll().seen == 3
    assert plan.ledger.offset == {"files": 2}


def test_existing_files_are_what_is_there_when_the_first_look_is_kept(landing, planner):
    plan = planner(include_existing=False)
    plan.poll()  # a sensor looks, and keeps nothing
    write(landing, "between")
    plan.drain()
    write(landing, "after")
    assert plan.paths() == [["after"]]


def test_an_existing_file_that_is_rewritten_follows_the_policy(landing, planner):
    write(landing, "a", at=1)
    plan = planner(include_existing=False, on_rewrite="reprocess")
    plan.drain()
    write(landing, "a", b"new", at=2)
    assert plan.paths() == [["a"]]
    assert plan.paths() == []


def test_a_landing_directory_that_comes_later_has_no_existing_files(landing, planner):
    landing.rmdir()
    plan = planner(include_existing=False)
    plan.drain()
    write(landing, "a")
    assert plan.paths() == [["a"]]


def test_whole_names_what_is_not_as_it_was(landing, planner):
    for name in ("kept", "gone", "rewritten"):
        write(landing, name, at=1)
    plan = planner()
    (part,) = plan.drain()
    (landing / "gone").unlink()
    touch(landing / "rewritten", 2)
    write(landing, "new")
    present, notes = plan.source.whole(part.files, clock=plan.clock, settings=plan.settings)
    assert [entry.path for entry in present] == ["kept"]
    assert notes == ("1 file is gone since: gone", "1 file was rewritten since: rewritten")
