"""Freed memory is kept, unless the environment says what to do with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_ASK = "from orchestration.engine.allocator import keep_freed_memory as k; print(k(), k())"


def _asked(**environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", _ASK],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="needs glibc")
def test_glibc_takes_the_settings() -> None:
    assert _asked() == "True True"


@pytest.mark.parametrize(
    "given",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}],
)
def test_what_the_environment_says_goes_before(given: dict[str, str]) -> None:
    assert _asked(**given) == "False False"
