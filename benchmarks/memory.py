"""Does the memory of a run grow with its backlog?

    python -m benchmarks.memory [--megabytes 100]

Runs ``headwater run`` over a backlog and over one four times as large, each in a process of its
own, and prints the most memory that each had (resident, as the kernel counts it).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from orchestration.cli.web_logs import write_log_files

__all__ = ["peak_rss"]

_QUERY = """\
from assets.web_logs import raw
from orchestration import StreamingQuery, available_now, delta_sink

logs = StreamingQuery("logs", raw, sink=delta_sink("logs"), trigger=available_now(max_files=5))
"""
_COMMAND = (sys.executable, "-m", "orchestration.cli", "-m", "measured", "run", "logs")
_FILE_LINES = 20_000
_TIMES = 4
_ALLOWED = 1.25  # allocators keep what they had; growing with the backlog would be _TIMES


def peak_rss(home: Path, files: int, template: Path) -> int:
    """Most bytes of memory that a run over ``files`` copies of a file had."""
    landing = home / "landing" / "web_logs"
    landing.mkdir(parents=True)
    for number in range(files):
        shutil.copyfile(template, landing / f"{number:05d}.json")
    (home / "pyproject.toml").write_text("", encoding="utf-8")
    (home / "measured.py").write_text(_QUERY, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    here = [str(Path(__file__).parent.parent), environment.get("PYTHONPATH", "")]
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, here)),
        "HEADWATER_MEMORY_LIMIT": "512MiB",
        "HEADWATER_ROOT": str(home),
    }
    # posix_spawn and wait4: the numbers of this one child, not of all children so far.
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    here_again = Path.cwd()
    os.chdir(home)
    try:
        child = os.posix_spawn(_COMMAND[0], _COMMAND, environment, file_actions=quiet)
    finally:
        os.chdir(here_again)
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"headwater run ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwater-memory-") as name:
        directory = Path(name)
        write_log_files(directory / "template", range(2, 3), _FILE_LINES)
        (template,) = (directory / "template").rglob("*.json")
        files = max(5, round(given.megabytes * 1e6 / template.stat().st_size))
        one = peak_rss(directory / "one", files, template)
        many = peak_rss(directory / "many", files * _TIMES, template)
    size = files * 5.2
    print(f"backlog {size:.0f} MB: {one / 1e6:.0f} MB of memory at most")
    print(f"backlog {size * _TIMES:.0f} MB: {many / 1e6:.0f} MB of memory at most")
    passed = many / one < _ALLOWED
    print(
        f"memory: {_TIMES} times the backlog takes {many / one:.2f} times the memory "
        f"(at most {_ALLOWED:.2f}): {'good' if passed else 'GROWS'}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
