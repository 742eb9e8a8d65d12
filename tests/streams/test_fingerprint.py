from __future__ import annotations

import copy
import json

import pyarrow as pa
import pytest

from orchestration.streams.builder import stream
from orchestration.streams.fingerprint import VERSION, compare, fingerprint
from orchestration.streams.schema import parse_schema

OUTPUT = parse_schema({"page": "VARCHAR", "cents": "DECIMAL(13,2)"})


@pytest.fixture
def kept(clicks):
    made = stream(clicks).where("amount >= 0").select("page", cents="amount * 100")
    return json.loads(json.dumps(fingerprint(made, OUTPUT, "append", ("page",))))


def changed(kept, **changes):
    new = copy.deepcopy(kept)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = new
        for key in parents:
            place = place[key]
        place[last] = value
    return new


def test_what_is_kept(kept, clicks):
    assert kept["version"] == VERSION
    assert kept["sources"] == {"clicks": {"kind": "files", "path": "in", "format": "json"}}
    assert kept["output_schema"] == {"page": "VARCHAR", "cents": "DECIMAL(13,2)"}
    assert kept["output_mode"] == "append"
    assert kept["partition_by"] == ["page"]
    assert kept["operators"][0] == {"where": "amount >= 0"}
    assert kept["input_schema"]["amount"] == "DECIMAL(10,2)"


def test_an_inferred_schema_is_kept_when_bound(unknown):
    made = stream(unknown).select("*")
    assert fingerprint(made, OUTPUT, "append", ())["input_schema"] is None
    bound = made.bind(pa.schema([("a", pa.int64())]))
    assert fingerprint(bound, OUTPUT, "append", ())["input_schema"] == {"a": "BIGINT"}


def test_nothing_changed(kept):
    assert compare(kept, kept) == ((), ())


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"output_mode": "update"}, 'the output mode was "append" and is "update"'),
        ({"partition_by": []}, "partition_by was page and is none"),
        ({"partition_by": ["page", "cents"]}, "partition_by was page and is page, cents"),
        ({"sources__clicks__path": "out"}, 'path of source "clicks" was "in" and is "out"'),
        ({"sources__clicks__format": "csv"}, 'format of source "clicks" was "json" and is "csv"'),
        ({"sources__clicks__kind": "cdc"}, 'kind of source "clicks" was "files" and is "cdc"'),
        (
            {"sources": {"other": {"kind": "files", "path": "in", "format": "json"}}},
            'source "clicks" is called "other" now',
        ),
        (
            {"output_schema": {"page": "VARCHAR"}},
            'output column "cents" (DECIMAL(13,2)) is gone',
        ),
        (
            {"output_schema__cents": "DOUBLE"},
            'output column "cents" was DECIMAL(13,2) and is DOUBLE',
        ),
        (
            {"output_schema": {"PAGE": "VARCHAR", "cents": "DECIMAL(13,2)"}},
            'output column "page" is spelled "PAGE"',
        ),
        ({"output_schema__os": "VARCHAR"}, 'output column "os" (VARCHAR) is new'),
    ],
)
def test_what_history_cannot_follow_is_refused(kept, changes, refused):
    found = compare(kept, changed(kept, **changes))
    assert len(found.refused) == 1
    assert found.refused[0].startswith(refused)


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"operators": [{"where": "amount > 1"}]}, "the operators changed"),
        (
            {"sources__clicks__glob": "*.json"},
            'glob of source "clicks" was not set and is "*.json"',
        ),
        ({"input_schema": {"page": "VARCHAR"}}, 'input column "event_id" (VARCHAR) is gone'),
        ({"input_schema__page": "JSON"}, 'input column "page" was VARCHAR and is JSON'),
        (
            {"output_schema": {"cents": "DECIMAL(13,2)", "page": "VARCHAR"}},
            "the output columns stand in another order",
        ),
        (
            {"sources__more": {"kind": "files", "path": "more", "format": "json"}},
            'source "more" was added',
        ),
        ({"sources": {}}, 'source "clicks" was removed'),
    ],
)
def test_what_the_next_batch_simply_uses_is_accepted_and_named(kept, changes, accepted):
    found = compare(kept, changed(kept, **changes))
    assert found.refused == ()
    assert any(line.startswith(accepted) for line in found.accepted)


def test_a_new_column_is_accepted_where_the_sink_takes_it(kept):
    new = changed(kept, output_schema__os="VARCHAR")
    assert compare(kept, new, add_columns=True).refused == ()
    assert 'output column "os" (VARCHAR) is new' in compare(kept, new, add_columns=True).accepted
    assert 'schema_evolution="add_columns"' in compare(kept, new).refused[0]
    gone = changed(kept, output_schema={"page": "VARCHAR", "os": "VARCHAR"})
    assert len(compare(kept, gone, add_columns=True).refused) == 1


def test_several_changes_are_all_named(kept):
    new = changed(kept, output_mode="complete", partition_by=[], sources__clicks__path="x")
    assert len(compare(kept, new).refused) == 3


def test_a_newer_headwaters_fingerprint_is_not_guessed_at(kept):
    found = compare(changed(kept, version=VERSION + 1), kept)
    assert "newer Headwater" in found.refused[0]
