"""What the guide shows as Python runs, and the history it draws is true."""

import re
from pathlib import Path

from tests.scd.runtime.feeds import Feed, gone, seq, up

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "change-data.md"


def test_its_examples_run():
    for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL):
        exec(compile(code, str(GUIDE), "exec"), {})


def test_its_history_is_true():
    feed = Feed(2)
    for change in (up(7, 1, "Berlin"), up(7, 5, "Rome"), up(7, 3, "Paris"), gone(7, 9)):
        feed.batch(change)
    assert [(row["name"], row["__start_at"], row["__end_at"]) for row in feed.rows()] == [
        ("Berlin", seq(1), seq(3)),
        ("Paris", seq(3), seq(5)),
        ("Rome", seq(5), seq(9)),
    ]
