"""What an SCD sink refuses before anything runs, with what to write instead."""

import pytest

from orchestration import StreamingQuery, delta_sink, scd1_sink, scd2_sink, stream
from orchestration.errors import DeclarationError, ExpressionError, SchemaError
from orchestration.testing import MemoryStream
from tests.scd.runtime.feeds import SCHEMA


def rows(schema=None):
    return stream(MemoryStream(schema or SCHEMA))


def spec(sink, given=None):
    query = StreamingQuery("q", given or rows(), sink=sink)
    return query.plan_of(query.stream).changes.spec


def test_the_columns_that_describe_the_change_are_not_kept():
    found = spec(scd1_sink("t", "ID"))
    assert found.columns == ("id", "name", "seen")
    assert found.keys == ("id",)
    assert found.table_columns == ("id", "name", "seen", "__sequence")
    assert (found.sequence, found.delete_when) == ('"_sequence"', "\"_op\" = 'delete'")
    assert found.truncate_when == "\"_op\" = 'truncate'"


def test_history_tracks_all_columns_but_the_keys():
    assert spec(scd2_sink("t", "id")).tracked == ("name", "seen")
    assert spec(scd2_sink("t", "id", track_columns="name")).tracked == ("name",)
    assert spec(scd2_sink("t", "id", track_columns_except="seen")).tracked == ("name",)
    assert spec(scd2_sink("t", "id")).table_columns[-2:] == ("__start_at", "__end_at")


def test_columns_can_be_named_or_left_out():
    assert spec(scd1_sink("t", "id", columns=["name", "id"])).columns == ("name", "id")
    assert spec(scd1_sink("t", "id", except_columns="seen")).columns == ("id", "name")
    assert spec(
        scd1_sink("t", "id", columns=["id", "_source"]), rows({**SCHEMA, "_source": "VARCHAR"})
    )


def test_a_stream_of_its_own_columns():
    mine = rows({"k": "BIGINT", "v": "VARCHAR", "at": "TIMESTAMPTZ", "dead": "BOOLEAN"})
    found = spec(scd1_sink("t", "k", sequence_by="at", delete_when="dead"), mine)
    assert (found.delete_when, found.truncate_when) == ('"dead"', None)
    assert found.columns == ("k", "v", "at", "dead")
    plain = spec(scd1_sink("t", "k", sequence_by="at"), mine)
    assert plain.delete_when is None


@pytest.mark.parametrize(
    ("sink", "error", "said"),
    [
        (lambda: scd1_sink("t", ()), DeclarationError, "names no column"),
        (lambda: scd1_sink("t", ["id", "ID"]), DeclarationError, "twice"),
        (lambda: scd1_sink("t", "idd"), SchemaError, 'did you mean "id"'),
        (lambda: scd1_sink("t", "id", columns="name"), DeclarationError, 'the key "id" is not'),
        (lambda: scd1_sink("t", "id", columns="id", except_columns="x"), DeclarationError, "both"),
        (lambda: scd1_sink("t", "id", except_columns="nmae"), SchemaError, 'did you mean "name"'),
        (lambda: scd1_sink("t", "id", sequence_by="sequence"), ExpressionError, "sequence"),
        (lambda: scd1_sink("t", "id", sequence_by="now()"), ExpressionError, "when the batch runs"),
        (lambda: scd1_sink("t", "id", sequence_by="max(seen)"), ExpressionError, "aggregate"),
        (lambda: scd1_sink("t", "id", delete_when="deleted"), ExpressionError, "deleted"),
        (lambda: scd1_sink("t", "id", soft_delete="Name"), DeclarationError, "already"),
        (lambda: scd1_sink("t", "id", ignore_null_updates="id"), DeclarationError, "is a key"),
        (lambda: scd1_sink("t", "id", ignore_null_updates="nam"), SchemaError, 'mean "name"'),
        (lambda: scd1_sink("t", "id", tombstone_retention="0 days"), DeclarationError, "forgets"),
        (lambda: scd1_sink("t", "id", tombstone_retention="soon"), DeclarationError, "duration"),
        (lambda: scd1_sink("t", "id", partition_by="regoin"), SchemaError, "regoin"),
        (lambda: scd1_sink("a b", "id"), DeclarationError, "table name"),
        (lambda: scd2_sink("t", "id", track_columns="nme"), SchemaError, 'did you mean "name"'),
        (lambda: scd2_sink("t", "id", track_columns="id"), DeclarationError, "is a key"),
        (
            lambda: scd2_sink("t", "id", track_columns="name", track_columns_except="seen"),
            DeclarationError,
            "both",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(sink, error, said):
    with pytest.raises(error) as caught:
        StreamingQuery("q", rows(), sink=sink())
    assert said in str(caught.value)
    assert caught.value.remedy or said in {"twice", "duration"}


def test_without_a_sequence_nothing_is_newer():
    with pytest.raises(DeclarationError, match="no column _sequence") as caught:
        StreamingQuery("q", rows({"id": "BIGINT", "at": "BIGINT"}), sink=scd1_sink("t", "id"))
    assert "sequence_by" in caught.value.remedy


def test_a_column_of_the_tables_own():
    schema = {**SCHEMA, "__sequence": "VARCHAR"}
    with pytest.raises(DeclarationError, match="of its own"):
        StreamingQuery("q", rows(schema), sink=scd1_sink("t", "id"))


def test_a_running_result_is_no_stream_of_changes():
    with pytest.raises(DeclarationError, match="no watermark|closes|append"):
        StreamingQuery(
            "q",
            rows().group_by("id").agg(_sequence="max(_sequence)", n="count(*)"),
            sink=scd1_sink("t", "id"),
        )


def test_other_sinks_say_what_they_said():
    assert delta_sink("t", output_mode="update").mode == "update"
    assert scd1_sink("t", "id").mode == "scd1"
    assert scd2_sink("t", "id").mode == "scd2"


@pytest.mark.parametrize(
    "sequence", ["seen / 2.0", "seen > 1", "[seen]", "CAST(name AS BLOB)", "{'a': seen}"]
)
def test_a_sequence_that_does_not_order_exactly(tmp_path, sequence):
    from orchestration.testing import StreamTest

    test = StreamTest(rows(), sink=scd1_sink("t", "id", sequence_by=sequence), home=tmp_path)
    with pytest.raises(SchemaError, match="does not order"):
        test.drain()
