import pytest

from benchmarks.soak import soak


def test_killed_again_and_again_every_line_is_there_exactly_once(tmp_path):
    result = soak(tmp_path / "soak", kills=6, seed=20261123)
    assert result.kills == 6
    assert result.invalid
    assert result.passed, result


@pytest.mark.slow
def test_fifty_times(tmp_path):
    result = soak(tmp_path / "soak", kills=50, seed=7)
    assert result.passed, result
