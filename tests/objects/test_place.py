"""Both kinds of place keep the same promises."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.errors import ConfigError
from orchestration.objects import Place, PlaceError

AWKWARD = [
    "a b.json",
    "100%.json",
    "p%20c.json",
    "h#sh.json",
    "q?x.json",
    "ünï/日本.json",
    "quo'te\".json",
    "dt=2026-01-01/k=a%2Fb/x+y~z.json",
    "br[a]{c}*.json",
]


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    if request.param == "local":
        return Place.open(str(tmp_path / "pla ce%20#"))
    return Place.open(f"{request.getfixturevalue('s3').uri}/pre fix%20#/")


def test_what_is_put_is_got_listed_and_deleted(place):
    for path in AWKWARD:
        place.put(path, path.encode())
    assert {info.path: info.size for info in place.list()} == {
        path: len(path.encode()) for path in AWKWARD
    }
    for path in AWKWARD:
        assert place.get(path) == path.encode()
        assert place.exists(path)
    place.delete([*AWKWARD, "never there"])
    assert list(place.list()) == []
    assert place.get(AWKWARD[0]) is None
    assert not place.exists(AWKWARD[0])


def test_put_replaces_and_put_if_absent_does_not(place):
    place.put("x", b"1")
    place.put("x", b"2")
    assert place.get("x") == b"2"
    assert not place.put_if_absent("x", b"3")
    assert place.get("x") == b"2"
    assert place.put_if_absent("deep/down/y", b"4")
    assert place.get("deep/down/y") == b"4"


def test_of_many_who_put_if_absent_exactly_one_wins(place):
    barrier = threading.Barrier(8)

    def put(number):
        barrier.wait()
        return place.put_if_absent("lock", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert place.get("lock") == str(won.index(True)).encode()
    assert [info.path for info in place.list()] == ["lock"]


def test_list_takes_a_directory_and_not_its_namesakes(place):
    for path in ("a/1", "a/b/2", "ab/3", "4"):
        place.put(path, b"")
    assert sorted(info.path for info in place.list("a")) == ["a/1", "a/b/2"]
    assert list(place.list("none")) == []


def test_list_after_gives_what_sorts_after_as_utf8(place):
    for path in ("a", "b", "c/1", "z", "é"):
        place.put(path, b"")
    assert sorted(info.path for info in place.list_after("b")) == ["c/1", "z", "é"]
    assert list(place.list_after("é")) == []


def test_upload_and_download_stream_whole_files(place, tmp_path):
    big = tmp_path / "big"
    big.write_bytes(os.urandom(12_000_000))
    place.upload(big, "dir/big file")
    copy = tmp_path / "copy"
    assert place.download("dir/big file", copy) == 12_000_000
    assert copy.read_bytes() == big.read_bytes()
    assert place.get_tail("dir/big file", 10) == big.read_bytes()[-10:]
    assert place.get_tail("dir/big file", 99_000_000) == big.read_bytes()


def test_a_missing_file_is_missing_and_leaves_nothing_behind(place, tmp_path):
    place.put("x", b"1")
    with pytest.raises(PlaceError, match="does not exist") as caught:
        place.download("y", tmp_path / "y")
    assert caught.value.kind == "missing"
    assert not (tmp_path / "y").exists()


def test_the_probe_passes_and_leaves_nothing_behind(place):
    place.probe_conditional_put()
    place.probe_conditional_put()
    assert list(place.list()) == []


def test_names_for_users_are_not_encoded(place):
    assert place.full_name("a b%.json") == f"{place.uri}/a b%.json"


@pytest.mark.parametrize("uri", ["relative/dir", "gs://bucket/x", "s3://", "s3:///x"])
def test_other_uris_are_refused(uri):
    with pytest.raises(ConfigError):
        Place.open(uri)


def test_a_local_place_stays_inside(tmp_path):
    with pytest.raises(PlaceError, match="leads out"):
        Place.open(str(tmp_path)).put("../x", b"")


def test_local_leftovers_of_a_writer_that_died_are_not_listed(tmp_path):
    (tmp_path / ".headwater-tmp-1").write_bytes(b"half")
    assert list(Place.open(str(tmp_path)).list()) == []


def test_a_local_file_where_a_directory_should_be_is_an_error(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(PlaceError) as caught:
        Place.open(str(tmp_path)).put("x/y", b"")
    assert caught.value.kind == "unavailable"


def test_file_uris_are_local(tmp_path):
    place = Place.open(f"file://{tmp_path}")
    assert place.is_local
    assert place.local_path == Path(tmp_path)
