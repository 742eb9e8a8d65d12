"""What of a declaration a query's history depends on, and what may change in between.

Kept with each generation as JSON::

    {"version": 2,
     "sources": {"files": {"kind": "files", "path": "landing/clicks", "format": "json", ...}},
     "statics": {"pages": {"kind": "static", "path": "tables/pages", ...}},
     "input_schema": {"page": "VARCHAR", ...},            # of one source; of several:
     "input_schemas": {"clicks": {"page": "VARCHAR"}, ...},
     "output_schema": {"page": "VARCHAR", ...},
     "output_mode": "append",
     "partition_by": ["day"],
     "operators": [{"where": "amount >= 0"}, ...],
     "scd": {"scd_type": 1, "keys": ["id"], ...},         # of a table that follows changes
     "state": {...}}                                      # see state_print

Version 1 had no ``statics``, ``input_schemas`` and ``state``: no query had any.

A query without state may change its expressions, limits and reading options at any time: the
next batch uses them. What would put rows of two meanings into one table, read the same files
twice, or go on with state that was made by other operators, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orchestration.streams.change_compare import compare_changes
from orchestration.streams.schema import schema_to_json
from orchestration.streams.state_compare import compare_state, has_state
from orchestration.streams.state_print import state_print

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from orchestration.streams.builder import Stream

__all__ = ["VERSION", "Differences", "compare", "fingerprint"]

VERSION = 2

#: What says which data a source reads; its other options say how, and may change.
_IDENTITY = ("kind", "path", "format")


class Differences(NamedTuple):
    """How a declaration differs from the one its query began with.

    Attributes:
        refused: Changes its history cannot follow, a sentence each.
        accepted: Changes that the next batch simply uses, a sentence each.
    """

    refused: tuple[str, ...]
    accepted: tuple[str, ...]


def fingerprint(
    stream: Stream,
    output_schema: pa.Schema,
    output_mode: str,
    partition_by: Sequence[str],
    *,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What to keep of a query's declaration, as JSON without secrets.

    Args:
        stream: Bound, so that its columns are known.
        output_schema: What the engine says it makes.
        output_mode: The sink's.
        partition_by: The sink's, in order.
        changes: How its table follows changes, as it was declared.

    Raises:
        SchemaError: An output column has a type that no table can keep.
    """
    schemas = {name: schema_to_json(schema) for name, schema in stream.input_schemas.items()}
    one = len(stream.sources) == 1
    found: dict[str, Any] = {
        "version": VERSION,
        "sources": {item.name: _described(item.describe()) for item in stream.sources},
        "input_schema": schemas.get(stream.source.name) if one else None,
        "output_schema": schema_to_json(output_schema),
        "output_mode": output_mode,
        "partition_by": list(partition_by),
        "operators": stream.describe()["operators"],
    }
    if not one:
        found["input_schemas"] = {
            item.name: schemas[item.name] for item in stream.sources if item.name in schemas
        }
    if stream.statics:
        found["statics"] = {item.name: item.describe() for item in stream.statics}
    if changes is not None:
        found["scd"] = dict(changes)
    if not stream.is_plain:
        found["state"] = state_print(stream.body, stream.plan())
    return found


def _described(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source without its schema, which stands below, whether declared or inferred."""
    return {key: value for key, value in source.items() if key not in {"name", "schema"}}


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], *, add_columns: bool = False
) -> Differences:
    """What changed between two fingerprints of one query.

    Args:
        old: The one that is kept.
        new: The one of the declaration now.
        add_columns: Whether the sink takes new columns (``schema_evolution="add_columns"``).
    """
    if old.get("version", VERSION) > VERSION:
        found = f"fingerprint version {old['version']}, this one knows {VERSION}"
        return Differences((f"it was written by a newer Headwater ({found})",), ())
    refused: list[str] = []
    accepted: list[str] = []
    was, now = old.get("state", {}), new.get("state", {})
    stateful = has_state(was) or has_state(now)
    _compare_sources(old["sources"], new["sources"], refused, accepted, stateful=stateful)
    _compare_statics(old.get("statics", {}), new.get("statics", {}), accepted)
    compare_state(was, now, refused, accepted)
    for key, name in (("output_mode", "the output mode"), ("partition_by", "partition_by")):
        if old[key] != new[key]:
            refused.append(f"{name} was {_text(old[key])} and is {_text(new[key])}")
    compare_changes(old.get("scd"), new.get("scd"), refused, accepted)
    _compare_output(old["output_schema"], new["output_schema"], add_columns, refused, accepted)
    accepted += _schema_changes("input column", old["input_schema"], new["input_schema"])
    before, after = old.get("input_schemas", {}), new.get("input_schemas", {})
    for name in before.keys() & after.keys():
        accepted += _schema_changes(f'column of source "{name}"', before[name], after[name])
    if old["operators"] != new["operators"]:
        accepted.append("the operators changed; batches from now on use the new ones")
    return Differences(tuple(refused), tuple(accepted))


def _compare_sources(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    refused: list[str],
    accepted: list[str],
    *,
    stateful: bool,
) -> None:
    for name in old.keys() & new.keys():
        for key in sorted(old[name].keys() | new[name].keys()):
            was, now = old[name].get(key), new[name].get(key)
            if was != now:
                line = f'{key} of source "{name}" was {_text(was)} and is {_text(now)}'
                (refused if key in _IDENTITY else accepted).append(line)
    removed = [name for name in old if name not in new]
    for name in (name for name in new if name not in old):
        twin = next(
            (other for other in removed if _identity(old[other]) == _identity(new[name])), ""
        )
        if twin:
            # Offsets are kept under the name: under a new one everything would be read again.
            removed.remove(twin)
            refused.append(f'source "{twin}" is called "{name}" now')
        elif stateful:
            refused.append(f'source "{name}" was added, and there is state that lacks its rows')
        else:
            accepted.append(f'source "{name}" was added')
    for name in removed:
        line = f'source "{name}" was removed'
        if stateful:
            refused.append(f"{line}, and there is state of its rows")
        else:
            accepted.append(line)


def _compare_statics(old: Mapping[str, Any], new: Mapping[str, Any], accepted: list[str]) -> None:
    """Static tables are read anew with every batch, so all of it may change."""
    accepted += [f'static table "{name}" was removed' for name in old if name not in new]
    accepted += [f'static table "{name}" was added' for name in new if name not in old]
    accepted += [
        f'{key} of static table "{name}" was {_text(old[name].get(key))} and is '
        f"{_text(new[name].get(key))}"
        for name in old
        if name in new
        for key in sorted(old[name].keys() | new[name].keys())
        if old[name].get(key) != new[name].get(key)
    ]


def _compare_output(
    old: Mapping[str, str],
    new: Mapping[str, str],
    add_columns: bool,
    refused: list[str],
    accepted: list[str],
) -> None:
    for line, added in _column_changes("output column", old, new):
        if added and add_columns:
            accepted.append(line)
        elif added:
            refused.append(f'{line} (the sink takes it with schema_evolution="add_columns")')
        else:
            refused.append(line)
    kept = [name.lower() for name in new if name.lower() in {item.lower() for item in old}]
    before = [name.lower() for name in old if name.lower() in set(kept)]
    if kept != before:
        accepted.append("the output columns stand in another order; the table keeps its own")


def _schema_changes(
    what: str, old: Mapping[str, str] | None, new: Mapping[str, str] | None
) -> list[str]:
    if old is None or new is None:
        return []
    return [line for line, _ in _column_changes(what, old, new)]


def _column_changes(
    what: str, old: Mapping[str, str], new: Mapping[str, str]
) -> list[tuple[str, bool]]:
    """Sentences, each with whether it is an addition; capitals do not count."""
    before = {name.lower(): (name, text) for name, text in old.items()}
    after = {name.lower(): (name, text) for name, text in new.items()}
    changes = []
    for key, (name, text) in before.items():
        if key not in after:
            changes.append((f'{what} "{name}" ({text}) is gone', False))
        elif after[key][1] != text:
            changes.append((f'{what} "{name}" was {text} and is {after[key][1]}', False))
        elif after[key][0] != name:
            changes.append((f'{what} "{name}" is spelled "{after[key][0]}"', False))
    changes += [
        (f'{what} "{name}" ({text}) is new', True)
        for key, (name, text) in after.items()
        if key not in before
    ]
    return changes


def _identity(source: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(source.get(key) for key in _IDENTITY)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if value else "none"
    return f'"{value}"' if isinstance(value, str) else str(value)
