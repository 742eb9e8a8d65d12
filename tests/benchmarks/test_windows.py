"""Small versions of the benchmarks by event time: what they compute is right."""

from benchmarks import state, windows
from benchmarks.clicks import write_clicks


def test_windows_are_what_the_oracle_says(tmp_path):
    landing = tmp_path / "landing"
    write_clicks(landing, 20_000, 200, per_second=5)
    groups, late = expected = windows.oracle(landing)
    windows.query(landing, tmp_path)
    assert windows.query_rows(tmp_path) == expected
    assert groups
    assert late


def test_small_batches_against_some_state(tmp_path):
    for name, case in state.CASES.items():
        landing = tmp_path / name / "landing"
        state.fill(landing, 2_000)
        for number in range(1, 4):
            state.add(landing, number, 100, 2_000, known=50)
        assert len(state.run(case, tmp_path / name, 2_000)) == 4
