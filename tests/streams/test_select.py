from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from orchestration.errors import ExpressionError
from orchestration.streams.builder import stream


def test_names_come_from_columns_fields_and_aliases(clicks):
    made = stream(clicks).select(
        "page",
        "device.os",
        '"my col"',
        '"a.b"',
        "amount * 2 AS double",
        'device.screen.width AS "the width"',
        "PAGE AS p2",
        total="amount + 1",
        **{"two words": "1"},
    )
    assert made.columns == (
        "page",
        "os",
        "my col",
        "a.b",
        "double",
        "the width",
        "p2",
        "total",
        "two words",
    )
    assert dict(made.operators[0].columns)["double"] == "amount * 2"
    assert dict(made.operators[0].columns)["the width"] == "device.screen.width"


def test_a_star_is_all_columns_and_a_name_after_it_replaces(clicks):
    source = stream(clicks)
    assert source.select("*").columns == source.columns
    more = source.select("*", PAGE="upper(page)", fresh="1")
    assert more.columns == tuple("PAGE" if n == "page" else n for n in source.columns) + ("fresh",)
    fewer = source.select('* EXCLUDE (page, "my col")')
    assert fewer.columns == tuple(n for n in source.columns if n not in {"page", "my col"})
    assert source.select("* exclude page", "device.*").columns[-2:] == ("os", "screen")
    assert source.select("device.screen.*").columns == ("width", "height")


@pytest.mark.parametrize(
    ("columns", "named", "message", "remedy"),
    [
        ((), {}, "names no column", 'select("*")'),
        (("amount * 2",), {}, "has no name", 'name="amount * 2"'),
        (("upper(page)",), {}, "has no name", "AS name"),
        (("page.upper()",), {}, "has no name", "AS name"),
        (("1",), {}, "has no name", "AS name"),
        (("'page'",), {}, "is a text", "without quotes: page"),
        (("page", "page"), {}, "twice", "another name"),
        (("page",), {"PAGE": "1"}, "twice", "another name"),
        (("page", "device.os", "os"), {}, 'no column "os"', ""),
        (("device.os", "event_id AS OS"), {}, "twice", "another name"),
        (("*", "page"), {}, "twice", "another name"),
        (("*", "*"), {}, "twice", "another name"),
        (("* EXCLUDE (pagee)",), {}, 'no column "pagee" to exclude; did you mean "page"?', ""),
        (("* REPLACE (1 AS page)",), {}, "* REPLACE", 'select("*", amount='),
        (("* RENAME (page AS p)",), {}, "* RENAME", 'select("*", amount='),
        (("labels.*",), {}, "not known", "STRUCT"),
        (("devise.*",), {}, 'did you mean "device"?', ""),
        (("amount page",), {}, "side by side", "AS"),
        (("page, amount",), {}, "2 expressions", "own text"),
        (("page AS select",), {}, "not an SQL expression", ""),
        (("sum(amount) AS s",), {}, "aggregate", ""),
        (("amuont AS a",), {}, 'did you mean "amount"?', ""),
        ((), {"x": "amount AS y"}, "named twice, x and y", "AS"),
        ((), {"x": "*"}, "all columns", ""),
        ((), {"x": "device.*"}, "several columns", ""),
        ((), {"x": "random()"}, "gives another value", ""),
        ((), {"": "1"}, "not a column name", ""),
        ((), {"x": 1}, "an expression is a text", ""),
        ((5,), {}, "an expression is a text", ""),
        (("x: amount",), {}, "colon", ""),
        (("count(*)",), {}, "aggregate", ""),
        (("unnest(tags)",), {}, "several rows", ""),
    ],
)
def test_what_gives_no_table_is_refused(columns, named, message, remedy, clicks):
    with pytest.raises(ExpressionError) as caught:
        stream(clicks).select(*columns, **named)
    assert message in str(caught.value.args[0])
    assert remedy in caught.value.remedy
    assert caught.value.remedy


def test_all_columns_excluded_is_refused(make_source):
    source = make_source(pa.schema([("a", pa.int64())]))
    with pytest.raises(ExpressionError, match="no column is left"):
        stream(source).select("* EXCLUDE (a)")


def test_an_expression_is_told_by_its_argument(clicks):
    with pytest.raises(ExpressionError, match=r"select\(total='amuont'\)"):
        stream(clicks).select(total="amuont")


def test_later_steps_see_the_new_columns(clicks):
    made = stream(clicks).select("page", cents="amount * 100")
    assert made.where("cents > 5").columns == ("page", "cents")
    with pytest.raises(ExpressionError, match='no column "amount"') as caught:
        made.where("amount > 5")
    assert "Columns: page, cents" in str(caught.value)
    # the type of a plain column stays known, that of an expression is the engine's
    assert made.select(d="page").where("d = 'x'").columns == ("d",)
    with pytest.raises(ExpressionError, match="is not true or false"):
        made.select(d="page").where("d")
    made.where("cents")
    kept = stream(clicks).select(d="device")
    with pytest.raises(ExpressionError, match='no field "oss"'):
        kept.where("d.oss = 'x'")


def test_duckdb_makes_the_columns_that_were_announced():
    names = ["a", "order", "two words", 'quo"te', "a.b", "größe", "semi;colon", "--dash", "😀"]
    table = pa.table({name: [1] for name in names} | {"s": [{"x y": 1, "z": "t"}]})

    class Source:
        name = "odd"
        schema = table.schema

        def describe(self):
            return {}

    made = stream(Source()).select("* EXCLUDE (s)", "s.*", "a + 1 AS a2 -- why", last="'it''s'")
    (select,) = made.operators
    sql = ", ".join(
        f'({text}) AS "{name.replace(chr(34), chr(34) * 2)}"' for name, text in select.columns
    )
    with duckdb.connect() as connection:
        connection.register("odd", table)
        found = connection.sql(f"SELECT {sql} FROM odd")
        assert tuple(found.columns) == made.columns == (*names, "x y", "z", "a2", "last")
        assert found.fetchall() == [(1,) * 9 + (1, "t", 2, "it's")]
