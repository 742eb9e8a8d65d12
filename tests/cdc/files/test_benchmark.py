"""A small version of the benchmark: what it reads is read, on the quick path."""

from benchmarks import change_files


def test_every_event_becomes_a_row(tmp_path):
    size = change_files.write_events(tmp_path / "landing", 2_000)
    assert size > 2_000 * 400
    (tmp_path / "bare").mkdir()
    change_files.bare(tmp_path / "landing", tmp_path / "bare")
    assert change_files.query(tmp_path / "landing", tmp_path / "home") == 2_000
