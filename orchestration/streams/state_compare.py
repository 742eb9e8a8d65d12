"""Whether state that one declaration made can be gone on with by another (semantics §7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestration.errors import ExpressionError
from orchestration.streams.parsing import parse_expression

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["compare_state", "has_state"]

_NAMES = {
    "aggregate": "aggregation",
    "drop_duplicates": "drop_duplicates",
    "join": "join of two streams",
    "limit": "limit",
    "apply": "apply_in_arrow_with_state",
}
_Print = Mapping[str, Any]


def has_state(state: _Print) -> bool:
    """Whether a query keeps anything between batches."""
    return bool(state.get("operators"))


def compare_state(old: _Print, new: _Print, refused: list[str], accepted: list[str]) -> None:
    """Name every change of stateful operators and watermarks.

    Args:
        old, new: As :func:`orchestration.streams.state_print.state_print` gives them.
        refused: Gets what the state cannot follow, a sentence each.
        accepted: Gets what it can.
    """
    before, after = old.get("operators", []), new.get("operators", [])
    kinds = [item["kind"] for item in before], [item["kind"] for item in after]
    if kinds[0] != kinds[1]:
        refused += _other_operators(before, after)
    else:
        for was, now in zip(before, after, strict=True):
            _operator(was, now, refused, accepted)
    # Without state on either side event time decides nothing.
    target = refused if before or after else accepted
    _watermarks(old.get("watermarks", []), new.get("watermarks", []), target, accepted)


def _other_operators(before: Sequence[_Print], after: Sequence[_Print]) -> Iterator[str]:
    was, now = [_said(item) for item in before], [_said(item) for item in after]
    if sorted(item["kind"] for item in before) == sorted(item["kind"] for item in after):
        yield f"the order of operators was {', '.join(was)} and is {', '.join(now)}"
        return
    left = [item["kind"] for item in after]
    for item in before:
        if item["kind"] in left:
            left.remove(item["kind"])
        else:
            yield f"{_said(item)} was removed, which has state"
    left = [item["kind"] for item in before]
    for item in after:
        if item["kind"] in left:
            left.remove(item["kind"])
        else:
            yield f"{_said(item)} was added, whose state would lack all rows before"


def _operator(was: _Print, now: _Print, refused: list[str], accepted: list[str]) -> None:
    kind, name = was["kind"], was["id"]
    if kind == "limit":
        if was["count"] != now["count"]:
            accepted.append(f"limit was {was['count']} and is {now['count']}")
        return
    if kind == "aggregate":
        _keys(name, was, now, refused)
        _aggregates(name, was["columns"], now["columns"], refused, accepted)
    elif kind == "join":
        if was["how"] != now["how"]:
            refused.append(f"{name} was a {was['how']} join and is a {now['how']} join")
        refused += [
            f"{side} keys of {name} were {_listed(was[side])} and are {_listed(now[side])}"
            for side in ("left", "right")
            if not _same_all(was[side], now[side])
        ]
        if not _same(was["condition"], now["condition"]):
            refused.append(
                f"the condition of {name} was {_text(was['condition'])} and is "
                f"{_text(now['condition'])}"
            )
    else:
        if [key.lower() for key in was["keys"]] != [key.lower() for key in now["keys"]]:
            refused.append(
                f"keys of {name} were {_listed(was['keys'])} and are {_listed(now['keys'])}"
            )
        for key, text in (
            ("within", "whether {} remembers within the watermark"),
            ("event_column", "the event-time column of {}"),
            ("state_schema", "the state of {}"),
            ("timeout", "the timeout of {}"),
        ):
            if was.get(key) != now.get(key):
                refused.append(
                    f"{text.format(name)} was {_text(was.get(key))} and is {_text(now.get(key))}"
                )
    if was.get("function") != now.get("function"):
        accepted.append(f"the function of {name} is {now.get('function')} now")
    if was.get("closes") != now.get("closes"):
        refused.append(f"whether a watermark closes what {name} keeps has changed")
    for key, side in (("input", ""), ("left_input", "left "), ("right_input", "right ")):
        refused += _input(f"{side}column", name, was.get(key, {}), now.get(key, {}))


def _keys(name: str, was: _Print, now: _Print, refused: list[str]) -> None:
    old, new = was["keys"], now["keys"]
    if len(old) == len(new):
        changed = [(a, b) for a, b in zip(old, new, strict=True) if not _same_key(a, b)]
        if all(_is_same_window(a, b) for a, b in changed):
            refused += [
                f"{part} of the window of {name} was {_text(a.get(part))} and is "
                f"{_text(b.get(part))}"
                for a, b in changed
                for part in ("length", "slide", "offset", "gap")
                if a.get(part) != b.get(part)
            ]
            return
    refused.append(
        f"grouping keys of {name} were {', '.join(map(_key_said, old)) or 'none'} and are "
        f"{', '.join(map(_key_said, new)) or 'none'}"
    )


def _aggregates(
    name: str,
    was: Mapping[str, str],
    now: Mapping[str, str],
    refused: list[str],
    accepted: list[str],
) -> None:
    for column, text in was.items():
        if column not in now:
            refused.append(f'aggregate "{column}" ({text}) of {name} was removed')
        elif not _same(text, now[column]):
            refused.append(f'aggregate "{column}" of {name} was {text} and is {now[column]}')
    refused += [
        f'aggregate "{column}" ({text}) of {name} was added'
        for column, text in now.items()
        if column not in was
    ]
    if list(was) != list(now) and set(was) == set(now):
        accepted.append(f"the aggregates of {name} stand in another order")


def _watermarks(
    before: Sequence[_Print], after: Sequence[_Print], target: list[str], accepted: list[str]
) -> None:
    for was, now in zip(before, after, strict=False):
        if was["sources"] != now["sources"]:
            target.append(
                f"{was['id']} was that of {_listed(was['sources'])} and is that of "
                f"{_listed(now['sources'])}: sources stand in another order"
            )
        elif was["column"].lower() != now["column"].lower():
            target.append(
                f'event time of {was["id"]} was "{was["column"]}" and is "{now["column"]}"'
            )
        accepted += [
            f"{key} of {was['id']} ({now['column']}) was {_text(was.get(key))} and is "
            f"{_text(now.get(key))}; the watermark does not go back"
            for key in ("delay", "idle_timeout", "max_future")
            if was.get(key) != now.get(key)
        ]
    target += [f'with_watermark("{item["column"]}") was removed' for item in before[len(after) :]]
    target += [f'with_watermark("{item["column"]}") was added' for item in after[len(before) :]]


def _input(
    what: str, name: str, was: Mapping[str, str | None], now: Mapping[str, str | None]
) -> Iterator[str]:
    """Changes of the columns that state is made of."""
    for column, kind in was.items():
        if column in now and kind is not None and now[column] is not None and kind != now[column]:
            yield f'{what} "{column}" of {name} was {kind} and is {now[column]}'
        elif column not in now and what != "column":
            yield f'{what} "{column}" of {name} is gone'
    if what != "column":  # a join keeps whole rows; others say by their keys what they keep
        for column in now:
            if column not in was:
                yield f'{what} "{column}" of {name} is new'


def _same_key(was: _Print, now: _Print) -> bool:
    return was.keys() == now.keys() and all(
        _same(was[key], now[key]) if key in {"expression", "window", "session_window", "gap"}
        else was[key] == now[key]
        for key in was
    )  # fmt: skip


def _is_same_window(was: _Print, now: _Print) -> bool:
    return any(
        key in was and key in now and _same(was[key], now[key])
        for key in ("window", "session_window")
    )


def _same_all(was: Sequence[str], now: Sequence[str]) -> bool:
    return len(was) == len(now) and all(map(_same, was, now))


def _same(was: str | None, now: str | None) -> bool:
    """Whether two expressions mean the same, whatever their layout."""
    return was == now or (was is not None and now is not None and _plain(was) == _plain(now))


def _plain(text: str) -> str:
    from sqlglot import exp

    def lower(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Identifier):
            return exp.to_identifier(node.name.lower(), quoted=True)
        return node

    try:
        tree = parse_expression(text).tree.transform(lower)
        return str(tree.sql(dialect="duckdb", comments=False))
    except (ExpressionError, ValueError):
        return text


def _said(item: _Print) -> str:
    name: str = _NAMES.get(item["kind"], str(item["kind"]))
    keys = item.get("keys")
    if item["kind"] == "aggregate":
        return f"{name} by {', '.join(map(_key_said, keys or [])) or 'nothing'}"
    return f"{name}({', '.join(keys)})" if keys else name


def _key_said(key: _Print) -> str:
    if "window" in key:
        more = "".join(f", {part} {key[part]}" for part in ("slide", "offset") if part in key)
        return f"window({key['window']}, {key['length']}{more})"
    if "session_window" in key:
        return f"session_window({key['session_window']}, {key['gap']})"
    name, text = key["name"], key["expression"]
    same = str(text).strip('"').lower() == str(name).lower()
    return str(name) if same else f"{name} = {text}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)
