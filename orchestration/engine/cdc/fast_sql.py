"""One statement that makes typed changes of the ordinary lines of a chunk.

The relation ``headwater_lines`` has the lines and their places. The statement gives the columns
of the change format, the place, whether the line is of the wanted table, and ``good``: that every
value of it is what the exact path (:mod:`.debezium`, :mod:`.maxwell`) would have made. No row is
left out by the statement itself: a condition would be moved below the parsing, which would then
be done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestration.engine.cdc.fast_values import LENIENT, FastValue, fast_value
from orchestration.streams.schema import quote_identifier, quote_literal

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestration.sources.cdc_format import ChangeFormat

__all__ = ["GOOD", "KEEP", "LINES", "PLACE", "Head", "debezium_head", "maxwell_head", "statement"]

LINES, PLACE, GOOD, KEEP = "headwater_lines", "headwater_place", "headwater_good", "headwater_keep"

# A number that a double may not give back digit for digit: sixteen digits and a point, or a power.
_WIDE = "|".join(
    [rf"\d{{{whole}}}\.\d{{{16 - whole}}}" for whole in range(1, 16)]
    + [r"\d{16}\d*\.\d", r"\d[\d.]*[eE]"]
)
# An integer has no -0, a double has: the parser makes both 0.
_DIGITS = rf"[:,\[]\s*-?(?:{_WIDE})|[:,\[]\s*-0(?:[,}}\]\s]|$)"
_TEXT = r'"[^"\\]*"'
_TEXT_OR_NUMBER = rf"{_TEXT}|\d+"
_COUNT = r"\d{1,19}"
_LAST_MICROS = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Head:
    """What stands in a record beside its row.

    Attributes:
        paths: JSON pointers of the members that are used, by name. Their texts are columns of
            these names, ``null`` where there is none.
        patterns: What of them is read, by name; or ``null``.
        op: SQL of the operation.
        image: SQL of the JSON text of the row.
        before: SQL of that of the row before, or of what was changed in it.
        position: SQL of the position without its last part.
        time: SQL of the moment.
        transaction, table: SQL of texts.
        good: Conditions on all of it.
        key_changed: SQL of a condition, with ``{old}`` and ``{new}`` for the texts of a column of
            the key; such lines become two rows and are left to the exact path.
    """

    paths: dict[str, str]
    patterns: dict[str, str]
    op: str
    image: str
    before: str
    position: str
    time: str
    transaction: str
    table: str
    good: tuple[str, ...]
    key_changed: str


def _plain(name: str) -> str:
    """A text without escapes, or a number, as text; null where it is null or empty."""
    return f"CASE WHEN {name} <> 'null' THEN nullif(trim({name}, '\"'), '') END"


def _padded(name: str, width: int) -> str:
    return f"lpad(CASE WHEN {name} = 'null' THEN '0' ELSE {name} END, {width}, '0')"


def debezium_head(changes: ChangeFormat) -> Head:
    """The envelope's."""
    source = ("connector", "ts_us", "ts_ms", "schema", "db", "table", "txId", "gtid", "snapshot")
    paths = {name: f"/source/{name}" for name in (*source, "lsn", "sequence", "file", "pos", "row")}
    paths |= {"op": "/op", "before": "/before", "after": "/after", "tx": "/transaction"}
    paths |= {"tx_id": "/transaction/id", "tx_order": "/transaction/total_order"}
    # "[\"24023119\",\"24023128\"]": the first of the two, unless it is null.
    commit = r"""CASE WHEN "sequence" = 'null' OR starts_with("sequence", '"[n') THEN lsn
        ELSE split_part("sequence", '\"', 2) END"""
    first = "'1/'"
    if changes.snapshots == "first":
        first = (
            "CASE WHEN op = '\"r\"' AND snapshot NOT IN ('null', 'false', '\"false\"', "
            "'\"incremental\"') THEN '0/' ELSE '1/' END"
        )
    postgres = (
        f"{first} || lpad({commit}, 20, '0') || '/' || lpad(lsn, 20, '0') "
        f"|| '/' || {_padded('tx_order', 10)}"
    )
    binlog = r"""lpad(regexp_extract(file, '\.(\d{1,10})"$', 1), 10, '0')"""
    mysql = f"'1/' || {binlog} || '/' || lpad(pos, 20, '0') || '/' || {_padded('row', 10)}"
    micros = (
        "CASE WHEN ts_us <> 'null' THEN TRY_CAST(ts_us AS BIGINT) "
        "WHEN length(ts_ms) < 16 THEN TRY_CAST(ts_ms AS BIGINT) * 1000 END"
    )
    space = f"coalesce({_plain('schema')}, {_plain('db')})"
    name = _plain('"table"')
    return Head(
        paths=paths,
        patterns={
            **dict.fromkeys(("ts_us", "ts_ms", "lsn", "pos"), _COUNT),
            **dict.fromkeys(("row", "tx_order"), r"\d{1,10}"),
            **dict.fromkeys(("schema", "db", '"table"', "txId", "gtid", "tx_id"), _TEXT_OR_NUMBER),
            '"sequence"': rf'"\[(?:null|\\"{_COUNT}\\"),(?:null|\\"{_COUNT}\\")\]"',
            "file": _TEXT,
        },
        op="CASE op WHEN '\"c\"' THEN 'insert' WHEN '\"u\"' THEN 'update' "
        "WHEN '\"d\"' THEN 'delete' WHEN '\"r\"' THEN 'read' END",
        image="CASE WHEN op = '\"d\"' THEN before ELSE after END",
        before="before",
        position=f"CASE WHEN connector = '\"postgresql\"' THEN {postgres} ELSE {mysql} END",
        time=f"CASE WHEN {micros} > 0 THEN CAST(make_timestamp({micros}) AS TIMESTAMPTZ) END",
        transaction=f"coalesce({_plain('tx_id')}, {_plain('txId')}, {_plain('gtid')})",
        table=f"CASE WHEN {space} IS NULL OR {name} IS NULL THEN {name} "
        f"ELSE {space} || '.' || {name} END",
        good=(
            "op IN ('\"c\"', '\"u\"', '\"d\"', '\"r\"')",
            (
                "CASE WHEN connector = '\"postgresql\"' THEN lsn <> 'null' "
                "WHEN connector IN ('\"mysql\"', '\"mariadb\"') THEN pos <> 'null' "
                r"""AND regexp_matches(file, '\.\d{1,10}"$') ELSE false END"""
            ),
            f"coalesce({micros}, 0) <= {_LAST_MICROS} AND (ts_us <> 'null' OR length(ts_ms) < 16)",
            "tx = 'null' OR starts_with(tx, '{')",
            "before = 'null' OR starts_with(before, '{')",
            "after = 'null' OR starts_with(after, '{')",
        ),
        key_changed="op = '\"u\"' AND {old} <> 'null' AND {old} <> {new}",
    )


def maxwell_head() -> Head:
    """Maxwell's."""
    names = ("database", "table", "type", "ts", "xid", "xoffset", "commit", "position", "data")
    paths = {name: f"/{name}" for name in (*names, "old")}
    place = (
        "CASE WHEN xoffset <> 'null' THEN lpad(xoffset, 10, '0') "
        "WHEN \"commit\" = 'true' THEN '9999999999' ELSE '0000000000' END"
    )
    binlog = r"""regexp_extract("position", '\.(\d{1,10}):(\d{1,19})"$', """
    by_position = (
        f"'1/' || lpad({binlog}1), 10, '0') || '/' || lpad({binlog}2), 20, '0') || '/' || {place}"
    )
    by_time = f"'1/' || lpad(ts, 20, '0') || '/' || lpad(xid, 20, '0') || '/' || {place}"
    bootstrap = "'0/' || lpad(ts, 20, '0') || '/00000000000000000000/0000000000'"
    without = "\"position\" = 'null'"
    database, table = _plain('"database"'), _plain('"table"')
    return Head(
        paths=paths,
        patterns={
            "ts": r"\d{1,11}",
            "xoffset": r"\d{1,10}",
            "xid": _COUNT,
            **dict.fromkeys(('"database"', '"table"'), _TEXT_OR_NUMBER),
            '"position"': rf'"[^"\\]*\.\d{{1,10}}:{_COUNT}"',
        },
        op="CASE \"type\" WHEN '\"insert\"' THEN 'insert' WHEN '\"update\"' THEN 'update' "
        "WHEN '\"delete\"' THEN 'delete' WHEN '\"bootstrap-insert\"' THEN 'read' END",
        image='"data"',
        before='"old"',
        position=f'CASE WHEN "type" = \'"bootstrap-insert"\' THEN {bootstrap} '
        f"WHEN {without} THEN {by_time} ELSE {by_position} END",
        time="CASE WHEN TRY_CAST(ts AS BIGINT) > 0 THEN "
        "CAST(make_timestamp(TRY_CAST(ts AS BIGINT) * 1000000) AS TIMESTAMPTZ) END",
        transaction=_plain("xid"),
        table=f"CASE WHEN {database} IS NULL OR {table} IS NULL THEN coalesce({table}, {database}) "
        f"ELSE {database} || '.' || {table} END",
        good=(
            '"type" IN (\'"insert"\', \'"update"\', \'"delete"\', \'"bootstrap-insert"\')',
            "ts <> 'null'",
            f"NOT {without} OR \"type\" = '\"bootstrap-insert\"' OR xid <> 'null'",
            "\"old\" = 'null' OR starts_with(\"old\", '{')",
        ),
        key_changed='"type" = \'"update"\' AND {old} IS NOT NULL',
    )


def statement(
    head: Head,
    schema: pa.Schema,
    encodings: dict[str, str] | None,
    changes: ChangeFormat,
    timezone: str | None,
    members_known: list[str],
) -> str:
    """The statement.

    Args:
        head: Of the shape.
        schema: The declared columns.
        encodings: What the records' own schema says; ``None`` where they have none.
        changes: Options.
        timezone: What times without a zone mean.
        members_known: Members of a row of these records, in order: one with exactly these has
            none twice.
    """
    columns = [(item, f"q{place}") for place, item in enumerate(schema)]
    values = [
        (
            item,
            q,
            fast_value(
                item,
                q,
                None if encodings is None else encodings.get(item.name),
                changes,
                timezone,
            ),
        )
        for item, q in columns
    ]
    names = list(head.paths)
    tops = ", ".join(
        f"coalesce(p[{place}], 'null') AS {quote_identifier(n)}" for place, n in enumerate(names, 1)
    )
    members = ", ".join(
        f"coalesce(q[{place}], 'null') AS {q}" for place, (_, q) in enumerate(columns, 1)
    )
    listed = _pointers([f"/{_escaped(item.name)}" for item in schema])
    old = ""
    if changes.keys:
        keyed = _pointers([f"/{_escaped(name)}" for name in changes.keys])
        image_before = f"CASE WHEN starts_with({head.before}, '{{') THEN {head.before} END"
        old = f", CAST(json_extract({image_before}, {keyed}) AS VARCHAR[]) AS old_key"
    image = "CASE WHEN starts_with(image, '{') THEN image END"
    final = [
        f"{PLACE}",
        f"{head.op} AS _op",
        f"{head.position} || CASE WHEN {head.op} = 'delete' THEN '/0' ELSE '/1' END AS _sequence",
        f"{head.time} AS _source_time",
        f"{head.transaction} AS _transaction",
        f"{head.table} AS _table",
        f"{_unchanged(values)} AS _unchanged",
        *(f"{value.value} AS {quote_identifier(item.name)}" for item, _, value in values),
        f"{_wanted(head, changes)} AS {KEEP}",
        f"coalesce({_good(head, values, changes, columns, members_known)}, false) AS {GOOD}",
    ]
    return f"""
WITH a AS (
    SELECT {PLACE}, line, CAST(TRY(json_extract(line, {_pointers(list(head.paths.values()))}))
        AS VARCHAR[]) AS p
    FROM {LINES}
), b AS (SELECT {PLACE}, line, {tops} FROM a
), c AS (SELECT *, {head.image} AS image FROM b
), d AS (
    SELECT *, CAST(json_extract({image}, {listed}) AS VARCHAR[]) AS q,
        json_keys({image}) AS members{old}
    FROM c
), e AS (SELECT *, {members} FROM d)
SELECT {", ".join(final)} FROM e"""


def _pointers(paths: list[str]) -> str:
    return f"[{', '.join(quote_literal(path) for path in paths)}]"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unchanged(values: list[tuple[Any, str, FastValue]]) -> str:
    told = [(item.name, value.skippable) for item, _, value in values if value.skippable]
    if not told:
        return "CAST(NULL AS VARCHAR[])"
    cases = ", ".join(f"CASE WHEN {test} THEN {quote_literal(name)} END" for name, test in told)
    anyone = " OR ".join(test for _, test in told)
    return (
        f"CASE WHEN {anyone} THEN list_filter([{cases}], lambda one: one IS NOT NULL) "
        "ELSE CAST(NULL AS VARCHAR[]) END"
    )


def _wanted(head: Head, changes: ChangeFormat) -> str:
    if changes.table is None:
        return "true"
    return f"coalesce({head.table} = {quote_literal(changes.table)}, false)"


def _good(
    head: Head,
    values: list[tuple[Any, str, FastValue]],
    changes: ChangeFormat,
    columns: list[tuple[Any, str]],
    members: list[str],
) -> str:
    tests = [*head.good, "list_any_value(q) IS NOT NULL"]
    tests += [f"{q} = 'null' OR ({value.good})" for _, q, value in values if value.good is not None]
    patterns = dict(head.patterns)
    patterns |= {q: value.pattern for _, q, value in values if value.pattern is not None}
    # One expression over all the texts: each stands in its place, and none but a quoted text can
    # hold the mark between them.
    pattern = r"\|".join(f"(?:null|{one})" for one in patterns.values())
    tests.append(f"regexp_full_match(concat_ws('|', {', '.join(patterns)}), '{pattern}')")
    known = f"[{', '.join(quote_literal(name) for name in members)}]"
    once = "list_unique(members) = len(members)"
    tests.append(f"CASE WHEN members = {known} THEN true ELSE {once} END" if members else once)
    # A row that comes back byte for byte had no digit changed, and was JSON.
    tests.append(
        "CASE WHEN contains(line, image) THEN true "
        f"ELSE NOT regexp_matches(line, '{_DIGITS}|{LENIENT}') END"
    )
    places = {item.name: q for item, q in columns}
    for place, name in enumerate(changes.keys, 1):
        test = head.key_changed.format(old=f"old_key[{place}]", new=places[name])
        tests.append(f"NOT coalesce({test}, false)")
    return " AND ".join(f"({test})" for test in tests)
