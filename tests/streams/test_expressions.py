from __future__ import annotations

import pytest

from orchestration.errors import ExpressionError
from orchestration.streams.columns import Columns
from orchestration.streams.expressions import check_condition, check_expression, columns_used


@pytest.mark.parametrize(
    "expression",
    [
        "amount >= 0",
        "AMOUNT >= 0 AND Page <> 'x'",
        "ok",
        "true",
        "page IS NOT NULL",
        "page IN ('a', 'b')",
        "page NOT LIKE 'a%' ESCAPE '!'",
        "page ILIKE '%x%' OR page SIMILAR TO 'a.*'",
        "amount BETWEEN 1 AND 2",
        "CAST(amount AS DOUBLE) / 3 > 1",
        "TRY_CAST(page AS STRUCT(nothere INTEGER)) IS NULL",
        "amount::DECIMAL(20, 4) > 1",
        "CASE WHEN amount > 0 THEN page ELSE event_id END = 'x'",
        "coalesce(page, event_id) = 'x'",
        "length(page) > 3",
        "page.upper().lower() = 'x'",
        "ts > TIMESTAMPTZ '2026-01-01 00:00:00Z'",
        "ts + INTERVAL 5 MINUTES > ts",
        "ts + INTERVAL (amount) SECOND > ts",
        "extract(hour FROM ts) = 3",
        "date_trunc('hour', ts) = ts",
        "ts AT TIME ZONE 'Europe/Berlin' IS NOT NULL",
        "device.os = 'linux'",
        "DEVICE.OS = 'linux'",
        "device.screen.width > 100",
        "device['os'] = 'linux'",
        "struct_extract(device, 'os') = 'x'",
        "labels['a'] > 1",
        "labels.a > 1",
        "extra ->> '$.a.b' = 'x'",
        "extra.a.b = '1'",
        "tags[1] = 'x' AND tags[1:2] IS NOT NULL",
        "items[1].price > 3",
        "list_contains(tags, 'x')",
        "len(list_filter(tags, t -> t <> page)) > 1",
        "len(list_filter(tags, lambda t: t <> page)) > 1",
        "len(list_transform(items, lambda i: i.price * amount)) > 1",
        "list_reduce(tags, lambda x, y: concat(x, y)) = 'x'",
        "len(list_transform(items, i -> list_transform(tags, t -> t || i.sku || page))) > 1",
        "len([t || page FOR t IN tags IF t <> 'x']) > 0",
        "len([i.sku FOR i, n IN items IF n > 1]) > 0",
        "tags.list_transform(lambda t: upper(t)).len() > 0",
        "list_aggregate(tags, 'max') = 'x' OR list_max(tags) = 'x'",
        "{'a': amount, 'b': page}.a > 1",
        "struct_pack(x := amount).x > 1",
        "map(['a'], [amount])['a'] > 1",
        '"my col" > 1 AND "a.b" > 1 AND "order" > 1',
        '"MY COL" > 1',
        "größe > 1",
        "page = 'it''s; -- not a comment /* nor this */ \"x\"'",
        "page = $$ it's; -- text $$",
        "page /* why; */ = 'x' -- because",
        "amount\n>=\n0",
        "page = '😀' AND größe = 1",
        "(((amount))) > 0",
        "NOT ok",
        "amount > 0 = ok",
        "range(3)[1] = 1",
        "error('never') IS NULL OR ok",
        "hash(event_id) % 100 < 5",
        "md5(page) = 'x'",
        " OR ".join(["amount = 1"] * 1500),
        "sha256(concat_ws('|', page, event_id)) = 'x'",
        "age(ts, ts) > INTERVAL 1 DAY",
        "ts < now() - INTERVAL 1 DAY",
        "position('a' IN page) > 0",
        "substring(page FROM 1 FOR 2) = 'ab'",
        "trim(BOTH 'x' FROM page) = 'a'",
        "exists(page)",
        "page COLLATE NOCASE = 'x'",
        "amount = ANY([1, 2])",
        "xor(1, 2) = 3 AND 1 << 2 = 4 AND 5 // 2 = 2 AND 2 ** 3 = 8",
    ],
)
def test_a_row_by_row_expression_is_taken(expression, columns):
    check_condition(expression, columns)


@pytest.mark.parametrize(
    ("expression", "message", "remedy"),
    [
        # names
        ("amuont >= 0", 'no column "amuont"; did you mean "amount"?', "columns"),
        ("amount + amuont", "Columns: event_id, page, ts", "columns"),
        ("os = 'x'", 'did you mean "device.os"?', "columns"),
        ("zzz = 1", 'no column "zzz". Columns', "columns"),
        ('page = "home"', 'no column "home"', "single quotes"),
        (
            "device.oss = 'x'",
            '"device" has no field "oss"; did you mean "os"?. Fields: os, screen',
            "field",
        ),
        (
            "device.screen.widht > 1",
            '"device.screen" has no field "widht"; did you mean "width"?',
            "field",
        ),
        ("page.os = 'x'", '"page" has no field "os": it is VARCHAR', "JSON"),
        ("items.price > 1", "not a struct", "list_transform(items, lambda x: x.price)"),
        ("amount.x > 1", "it is DECIMAL(10,2)", "amount alone"),
        ("clicks.page = 'x'", 'no column "clicks"', "columns"),
        ("a.b > 1", 'no column "a"; did you mean the column "a.b"?', "double quotes"),
        ("len(list_filter(tags, lambda t: u <> 'x')) > 1", 'no column "u"', "columns"),
        ("len(list_filter(tags, lambda t: t <> 'x')) > t", 'no column "t"', "columns"),
        ("[x FOR y IN tags] = tags", 'no column "x"', "columns"),
        ("pagee.upper() = 'X'", 'no column "pagee"', "columns"),
        ("order > 1", "order is a word of SQL", '"order"'),
        ("end = 1", "end is a word of SQL", '"end"'),
        # grammar
        ("", "empty", ""),
        ("  \n ", "empty", ""),
        ("-- nothing", "only a comment", ""),
        ("amount >", "something is missing here (line 1, column", "sqlglot"),
        ("amount\n> )", "(line 2, column", "sqlglot"),
        ("(amount > 0", "Expecting )", "sqlglot"),
        ("amount > 0)", "this cannot stand here (line 1, column 11)", "sqlglot"),
        ("amount) OR (amount", "this cannot stand here", "sqlglot"),
        ("page = 'open", "' is opened and not closed", "close"),
        ('"open = 1', '" is opened and not closed', "close"),
        ("amount /* open", "a comment (/*) is opened", "close"),
        ("amount > 0; DROP TABLE x", "semicolon", "AND"),
        ("amount > 0;", "semicolon", "remove"),
        ("amount, page", "2 expressions", "own text"),
        ("amount,", "last comma", "comma"),
        ("amount page", "side by side", "operator"),
        ("x: amount", "colon", "name"),
        ("amount AS x", "not named here", "AS"),
        ("(amount AS x) > 1", "in the midst", "AS"),
        ("page = 'a\0b'", "NUL", "remove"),
        ("page = '\ud800'", "unicode", "remove"),
        ("(" * 3000 + "amount" + ")" * 3000, "too deeply", "split"),
        ("page = `x`", "cannot stand here", "sqlglot"),
        # not an expression
        ("SELECT 1", "SELECT begins a statement", "condition"),
        ("drop table clicks", "DROP begins a statement", "condition"),
        ("INSERT INTO x VALUES (1)", "INSERT begins a statement", "condition"),
        ("WITH x AS (SELECT 1) SELECT 1", "WITH begins a statement", "condition"),
        ("amount FROM clicks", "a query stands here", "step"),
        ("amount WHERE ok", "a query stands here", "step"),
        ("amount ORDER BY page", "a query stands here (ORDER)", "step"),
        ("amount LIMIT 1", "a query stands here (LIMIT)", "step"),
        ("DISTINCT amount", "a query stands here (DISTINCT)", "step"),
        ("amount UNION SELECT 1", "a query stands here", "step"),
        # other rows
        ("(SELECT max(amount) FROM clicks) > 1", "", ""),
        ("amount > (SELECT 1)", "subquery", "map_batches"),
        ("EXISTS (SELECT 1)", "subquery", "map_batches"),
        ("page IN (SELECT 'x')", "subquery", "map_batches"),
        ("amount > ALL (SELECT 1)", "subquery", "map_batches"),
        ("ARRAY(SELECT 1) = [1]", "subquery", "map_batches"),
        ("sum(amount) > 1", "sum() is an aggregate", "list_aggregate(xs, 'sum')"),
        ("SUM(amount) > 1", "sum() is an aggregate", "output table"),
        ('"sum"(amount) > 1', "sum() is an aggregate", "output table"),
        ("amount.sum() > 1", "sum() is an aggregate", "output table"),
        ("count(*) > 1", "count() is an aggregate", "output table"),
        ("sum(amount) FILTER (WHERE ok) > 1", "sum() is an aggregate", "output table"),
        ("list(page) = tags", "list() is an aggregate", "output table"),
        ("string_agg(page, ',') = 'x'", "string_agg() is an aggregate", "output table"),
        ("any_value(page) = 'x'", "any_value() is an aggregate", "output table"),
        ("arg_min(page, ts) = 'x'", "arg_min() is an aggregate", "output table"),
        ("mode(page) = 'x'", "mode() is an aggregate", "output table"),
        ("quantile_cont(amount, 0.5) > 1", "quantile_cont() is an aggregate", "output table"),
        ("histogram(page) IS NULL", "histogram() is an aggregate", "output table"),
        ("coalesce(max(amount), 1) > 1", "max() is an aggregate", "output table"),
        ("row_number() OVER () = 1", "row_number() is a window function", "output table"),
        ("lag(amount) OVER (ORDER BY ts) > 1", "lag() is a window function", "output table"),
        ("upper(page) OVER () = 'x'", "a window function", "output table"),
        ("unnest(tags) = 'x'", "unnest() makes several rows", "map_batches"),
        ("generate_subscripts(tags, 1) = 1", "makes several rows", "map_batches"),
        # another value each time
        ("random() < 0.1", "random() gives another value each time", "hash("),
        ("RANDOM ( ) < 0.1", "random() gives another value each time", "hash("),
        ('"random"() < 0.1', "random() gives another value each time", "hash("),
        ("uuid() = 'x'", "uuid() gives another value", "md5("),
        ("gen_random_uuid() = 'x'", "gives another value", "md5("),
        ("uuidv4() = 'x' OR uuidv7() = 'x'", "gives another value", "md5("),
        ("setseed(0.1) IS NULL", "gives another value", ""),
        ("nextval('s') > 1", "counter", "data"),
        ("currval('s') > 1", "counter", "data"),
        ("getenv('HOME') = 'x'", "depends on the process", "constant"),
        ("current_setting('threads') = 1", "depends on the process", "constant"),
        ("getvariable('x') = 1", "depends on the process", "constant"),
        ("version() = 'x'", "depends on the process", "constant"),
        ("current_user = 'x'", "current_user depends on the process", "constant"),
        ("pg_typeof(amount) = 'x'", "depends on the process", "constant"),
        ("txid_current() = 1", "depends on the process", "constant"),
        ("read_csv('/etc/passwd') IS NULL", "rows of its own", "source"),
        ("read_text('/etc/passwd') IS NULL", "rows of its own", "source"),
        ("glob('*') IS NULL", "rows of its own", "source"),
        ("sniff_csv('x') IS NULL", "rows of its own", "source"),
        ("sleep_ms(1000) IS NULL", "besides giving a value", "leave it out"),
        ("current_time > '10:00'", "type TIME", "now()"),
        ("localtime > '10:00'", "type TIME", "now()"),
        ("get_current_time() > '10:00'", "type TIME", "now()"),
        ("age(ts) > INTERVAL 1 DAY", "machine's clock", "age(current_date, ts)"),
        ("ts.age() > INTERVAL 1 DAY", "machine's clock", "age(current_date, ts)"),
        ("ago(INTERVAL 1 DAY) < ts", "machine's clock", "now() - INTERVAL"),
        ("now(3) > ts", "without arguments", "now()"),
        ("ts.now() > ts", "without arguments", "now()"),
        ("main.now() > ts", "without arguments", "now()"),
        # values from outside
        ("amount > ?", "a parameter", "f-string"),
        ("amount > $1", "a parameter", "f-string"),
        ("amount > $limit", "a parameter", "f-string"),
        ("amount > :limit", "a parameter", "f-string"),
        ("#1 > 0", "a parameter", ""),
        # several columns
        ("*", "several columns|all columns", ""),
        ("device.* = 1", "device.* stands for several columns", 'select("*")'),
        ("COLUMNS('a.*') > 1", "COLUMNS", "EXCLUDE"),
        ("COLUMNS(*) > 1", "COLUMNS", "EXCLUDE"),
        # not true or false
        ("'x'", "a constant is not a condition", "compare"),
        ("1", "a constant is not a condition", "compare"),
        ("page", '"page" is not true or false', "page IS NOT NULL"),
        ("device.screen.width", "not true or false", "IS NOT NULL"),
    ],
)
def test_what_is_no_row_by_row_condition_is_refused(expression, message, remedy, columns):
    with pytest.raises(ExpressionError) as caught:
        check_condition(expression, columns)
    text = str(caught.value.args[0])
    assert any(part in text for part in message.split("|"))
    assert remedy in caught.value.remedy
    assert caught.value.remedy
    assert f"where({expression!r})" in text  # the whole expression, as it was written


@pytest.mark.parametrize("expression", [None, 5, True, b"amount", ["amount"], object])
def test_what_is_no_text_is_refused(expression, columns):
    with pytest.raises(ExpressionError, match="an expression is a text"):
        check_condition(expression, columns)


def test_a_fault_is_marked_in_its_line(columns):
    with pytest.raises(ExpressionError) as caught:
        check_condition("amount > 0\n  AND random() < 0.5", columns)
    lines = str(caught.value.args[0]).split("\n")
    assert lines[-2] == "      AND random() < 0.5"
    assert lines[-1].index("^") == lines[-2].index("random")


def test_a_fault_in_a_very_long_line_is_still_in_sight(columns):
    with pytest.raises(ExpressionError) as caught:
        check_condition("amount = 1 OR " * 200 + "random() < 0.5", columns)
    mark, line = (
        str(caught.value.args[0]).split("\n")[-1],
        str(caught.value.args[0]).split("\n")[-2],
    )
    assert line[mark.index("^") :].startswith("random()")
    assert len(line) < 100


def test_names_wait_until_the_columns_are_known():
    check_expression("no_such_column > 1", None)
    for expression in ("sum(x)", "random()", "x >", "(SELECT 1)"):
        with pytest.raises(ExpressionError):
            check_expression(expression, None)


def test_a_column_with_the_name_of_a_function_is_told_from_it():
    columns = Columns((("current_date", None), ("now", None), ("sum", None), ("random", None)))
    check_expression("now > sum + random", columns)
    check_expression('"current_date" = now()', columns)
    with pytest.raises(ExpressionError, match="the column or the function") as caught:
        check_expression("current_date > now", columns)
    assert '"current_date"' in caught.value.remedy


def test_a_list_of_many_columns_is_cut():
    columns = Columns(tuple((f"column_{n}", None) for n in range(100)))
    with pytest.raises(ExpressionError, match="and 60 more"):
        check_expression("nothing_like_it", columns)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1", ()),
        ("a + A + b", ("a", "b")),
        ("device.os || device.name", ("device",)),
        ("list_transform(xs, x -> x + y)", ("xs", "y")),
        ("[x + y FOR x IN xs]", ("y", "xs")),
        ("xs.list_sum() + ys[1]", ("xs", "ys")),
        ('"a b"."c d"', ("a b",)),
        ("now() > ts", ("ts",)),
        ("CAST(a AS STRUCT(b INTEGER)).b", ("a",)),
        ("f(x := y)", ("y",)),
        ("* EXCLUDE (a)", ("a",)),
    ],
)
def test_columns_used(expression, expected):
    assert set(columns_used(expression)) == set(expected)
    assert len(columns_used(expression)) == len(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("AS amount", "nothing that it names"),
        ("EXTRACT(hour FROM amount", "opened and not closed"),
    ],
)
def test_what_the_parser_takes_and_duckdb_does_not(text, says):
    with pytest.raises(ExpressionError, match=says) as caught:
        check_expression(text)
    assert caught.value.remedy
