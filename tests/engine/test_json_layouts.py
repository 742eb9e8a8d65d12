"""Layouts that several threads learn at once, and columns that only late rows need."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from orchestration import StreamingQuery, delta_sink, files, stream, window
from orchestration.config import Settings
from orchestration.engine.json_layouts import Layouts
from orchestration.engine.json_lines import JsonLines
from orchestration.engine.spared import Spared
from orchestration.runtime.contents import table_rows
from orchestration.streams.schema import parse_schema

if TYPE_CHECKING:
    from pathlib import Path


def test_a_layout_that_another_thread_has_just_learned_is_used() -> None:
    """Else a whole chunk would be read line by line."""
    data = b"".join(b'{"page":"p%d","n":%d}\n' % (n, n) for n in range(500))
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate(([0], ends))
    open_ = np.ones(500, dtype=bool)
    layouts = Layouts(parse_schema({"page": "VARCHAR", "n": "BIGINT"}), rescue=False)
    rows: list[int] = []

    def meanwhile(_: bytes) -> bool:
        if not rows:
            rows.append(0)
            ((_, numbers),) = layouts.cut(data, offsets, open_, lambda _: True)
            rows[0] = len(numbers)
        return True

    ((_, numbers),) = layouts.cut(data, offsets, open_, meanwhile)

    assert rows == [500]
    assert numbers.tolist() == list(range(1, 501))


def test_texts_that_only_late_rows_need_are_made_for_these_alone() -> None:
    schema = parse_schema(
        {"id": "VARCHAR", "ts": "TIMESTAMPTZ", "n": "BIGINT", "by": "STRUCT(os VARCHAR)"}
    )
    data = b"".join(
        b'{"id":"i%d","ts":"2026-01-01T00:%02d:00Z","n":%d,"by":{"os":"o%d"}}\n' % (n, n, n, n)
        for n in range(60)
    )
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate(([0], ends))
    until = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    spared = Spared(frozenset({"id", "n", "by"}), "ts", int(until.timestamp()) * 1_000_000)
    layouts = Layouts(schema, rescue=False, spared=spared)

    ((arrays, numbers),) = layouts.cut(data, offsets, np.ones(60, dtype=bool), lambda _: True)

    ids, times, values, by = (array.to_pylist() for array in arrays)
    assert numbers.tolist() == list(range(1, 61))
    assert ids == [f"i{n}" if n <= 5 else None for n in range(60)]
    assert [item["os"] for item in by] == [f"o{n}" if n <= 5 else None for n in range(60)]
    assert [moment.minute for moment in times] == list(range(60))
    assert values == list(range(60))  # read to be proved, so there is nothing to save


@pytest.mark.parametrize("mode", ["append", "update"])
def test_a_late_row_is_kept_whole(tmp_path: Path, mode: Literal["append", "update"]) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    settings = Settings.load(home=tmp_path)
    clicks = stream(
        files(str(landing), schema={"id": "VARCHAR", "ts": "TIMESTAMPTZ", "page": "VARCHAR"})
    ).with_watermark("ts", "1 minute")
    query = StreamingQuery(
        "views",
        clicks.group_by(window("ts", "5 minutes"), "page").agg(views="count(*)"),
        sink=delta_sink("views", output_mode=mode),
        settings=settings,
    )
    for number, minutes in enumerate(([0, 10, 20], [1, 21, 22], [2, 23, 24])):
        lines = [
            f'{{"id":"{number}-{minute}-{n}","ts":"2026-01-01T00:{minute:02d}:00Z","page":"p"}}\n'
            for minute in minutes
            for n in range(20)
        ]
        (landing / f"{number}.json").write_text("".join(lines))
        query.run()

    late = table_rows(str(tmp_path / "tables" / "views__late"))

    assert sorted(json.loads(row["row"])["id"] for row in late) == sorted(
        f"{number}-{number}-{n}" for number in (1, 2) for n in range(20)
    )
    assert {json.loads(row["row"])["page"] for row in late} == {"p"}


_SCHEMA = {"page": "VARCHAR", "by": "STRUCT(os VARCHAR)"}
_LINES = [f'{{"page":"p{n}","by":{{"os":"o{n}"}}}}' for n in range(40)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\n".join(_LINES) + "\n", id="plain"),
        pytest.param("\n".join(_LINES), id="no newline at the end"),
        pytest.param("\r\n".join(_LINES) + "\r\n", id="returns"),
        pytest.param("\n".join(_LINES) + "\n\n", id="blank line at the end"),
        pytest.param("\n\n".join(_LINES) + "\n", id="blank lines"),
        pytest.param("\n".join(_LINES).replace("p7", "p\n7") + "\n", id="newline in a text"),
        pytest.param("\n".join(_LINES).replace("p7", "p\t7") + "\n", id="tab in a text"),
        pytest.param("\n".join(_LINES).replace("p7", 'p\\"7') + "\n", id="quote in a text"),
        pytest.param("\n".join(_LINES).replace("}\n", " }\n", 1) + "\n", id="another end"),
        pytest.param("\n".join(_LINES).replace("}\n{", "} {", 1) + "\n", id="two on a line"),
        # As many quotes as two lines have, spread so that no line has its own number of them.
        pytest.param('{"page":"x","by":{"os"\n:"y","page":"x","by":{"os":"y"}}\n', id="shifted"),
        pytest.param("\n" * 40, id="nothing but blank lines"),
    ],
)
def test_lines_found_by_their_quotes_are_the_lines_there_are(text: str) -> None:
    """Whatever a reader has learned before, a chunk is read as by one that knows nothing."""

    def fresh() -> JsonLines:
        return JsonLines(parse_schema(_SCHEMA), timezone=None, rescue=False, max_line_bytes=10_000)

    def outcome(reader: JsonLines, data: bytes) -> tuple[list[object], list[object], int]:
        found = reader.read(data)
        rows: list[object] = []
        for arrays, numbers in found.columns:
            columns = (array.to_pylist() for array in arrays)
            rows += [(int(n), *row) for n, *row in zip(numbers, *columns, strict=True)]
        for lines, numbers in found.parts:
            for n, line in zip(numbers, lines.to_pylist(), strict=True):
                record = json.loads(line)
                rows.append((int(n), record["page"], record["by"]))
        bad = [(item.line, item.raw) for item in found.bad]
        return sorted(rows, key=str), list(bad), found.lines

    learned = fresh()
    learned.read(("\n".join(_LINES) + "\n").encode())

    assert outcome(learned, text.encode()) == outcome(fresh(), text.encode())
