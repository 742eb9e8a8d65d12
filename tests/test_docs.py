"""What the documentation says is there, is there; what it shows as Python, runs."""

import re
from pathlib import Path

import pytest

from orchestration.cli.app import group

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_COMMAND = re.compile(r"headwater ([a-z]+)\b")


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in _LINK.findall(page.read_text()):
        if target.startswith("http"):
            continue
        other = (page.parent / target).resolve() if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    known = set(group.list_commands(None))
    # `headwater run …` in code; words after the name in a sentence are none.
    code = re.findall(r"`([^`\n]+)`|^(headwater .*)$", page.read_text(), re.MULTILINE)
    named = {name for pair in code for text in pair for name in _COMMAND.findall(text)}
    assert named <= known, named - known


def test_the_guides_own_test_of_a_windowed_query_runs():
    text = (ROOT / "docs" / "event-time.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]
    exec(compile(code, "docs/event-time.md", "exec"), {})


def test_the_guides_time_lines_are_true():
    """The numbers of docs/event-time.md, as the queries give them."""
    from orchestration import once, stream, window
    from orchestration.sources.base import Limits
    from orchestration.testing import MemoryStream, StreamTest

    schema = {"ts": "TIMESTAMPTZ", "k": "VARCHAR"}

    def counted(**options):
        src = MemoryStream(schema, **options)
        rows = stream(src).with_watermark("ts", "10 seconds")
        return src, StreamTest(rows.group_by(window("ts", "5 seconds")).agg(n="count(*)"))

    def add(src, *times):
        src.add([{"ts": ts, "k": "a"} for ts in times])

    def given(batch):
        rows = sorted((r["window_start"].timestamp(), r["n"]) for r in batch.rows)
        return batch.watermark, rows, batch.late_rows

    src, test = counted()
    add(src, 10, 12, 14)
    said = [given(batch) for batch in test.drain()]
    add(src, 25)
    said += [given(batch) for batch in test.drain()]
    assert said == [(0, [], 0), (4, [], 0), (4, [], 0), (15, [(10, 3)], 0)]

    src, test = counted()
    said = []
    for times in ((15,), (10, 12, 14), (25,), (50,), (50,)):
        add(src, *times)
        said += [given(batch)[:2] for batch in test.drain(once())]
    assert said == [(0, []), (5, []), (5, []), (15, [(10, 3)]), (40, [(15, 1), (25, 1)])]

    src, test = counted(limits=Limits(max_files=None, max_bytes=None, max_rows=1))
    add(src, 10, 30, 12)
    assert [given(batch) for batch in test.drain()] == [(0, [], 0), (0, [], 0), (20, [(10, 2)], 0)]
    src, test = counted()
    said = []
    for ts in (10, 30, 12):
        add(src, ts)
        said += [given(batch) for batch in test.drain()]
    assert said == [(0, [], 0), (0, [], 0), (20, [(10, 1)], 0), (20, [], 1)]
