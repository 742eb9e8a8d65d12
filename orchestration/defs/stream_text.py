"""A stream as the lines that an asset's description shows: one step a line."""

from __future__ import annotations

from typing import Any

__all__ = ["stream_text"]

_WIDTH = 8
_DEDUPLICATIONS = {
    "drop_duplicates": "drop_duplicates",
    "drop_duplicates_within_watermark": "drop_duplicates_within_watermark",
}


def stream_text(stream: dict[str, Any]) -> str:
    """A stream's description as lines.

    Args:
        stream: What :meth:`orchestration.streams.builder.Stream.describe` gives.
    """
    sources = [stream["source"]] if "source" in stream else list(stream.get("sources", ()))
    lines = [_place(item) for item in [*sources, *stream.get("statics", ())]]
    return "\n".join([*lines, *_steps(stream["operators"])])


def _place(source: dict[str, Any]) -> str:
    return f"{source.get('kind', 'source')}({source.get('path', source['name'])!r})"


def _steps(operators: list[dict[str, Any]]) -> list[str]:
    return [line for step in operators for line in _step(step)]


def _step(step: dict[str, Any]) -> list[str]:
    if "where" in step:
        return [_line("where", step["where"])]
    if "map_batches" in step:
        return [_line("map", step["map_batches"])]
    if "select" in step:
        return [_line("select", _columns(step["select"]))]
    if "with_watermark" in step:
        more = "".join(
            f", {name.replace('_', ' ')} {step[name]}"
            for name in ("idle_timeout", "max_future")
            if name in step
        )
        return [_line("watermark", f"{step['with_watermark']}, at most {step['delay']} late{more}")]
    if "group_by" in step:
        keys = ", ".join(map(_key, step["group_by"])) or "everything"
        return [_line("group by", keys), _line("agg", _columns(step["agg"]))]
    if "join" in step:
        return [*_nested(step["join"]), _line(f"{step['how']} join", _on(step["on"]))]
    if "union" in step:
        return [*(line for item in step["union"] for line in _nested(item)), "union"]
    if "order_by" in step:
        return [_line("order by", ", ".join(step["order_by"]))]
    if "limit" in step:
        return [_line("limit", str(step["limit"]))]
    for name in _DEDUPLICATIONS:
        if name in step:
            return [_line(name, ", ".join(step[name]) or "all columns")]
    if "apply_in_arrow_with_state" in step:
        return [_line("apply", f"{step['apply_in_arrow_with_state']} by {', '.join(step['keys'])}")]
    return [_line(*next(iter((name, str(value)) for name, value in step.items())))]


def _nested(part: dict[str, Any]) -> list[str]:
    """What a stream is joined or put together with, below its own steps."""
    lines = [f"with {' and '.join(part['sources'])}:", *_steps(part["operators"])]
    return [f"  {line}" for line in lines]


def _line(word: str, text: str) -> str:
    return f"{word:<{_WIDTH}} {text}" if len(word) >= _WIDTH else f"{word:<{_WIDTH - 1}} {text}"


def _on(on: str | list[str]) -> str:
    return f"on {on if isinstance(on, str) else ', '.join(on)}"


def _key(key: dict[str, Any]) -> str:
    if "window" in key:
        more = "".join(f", {name} {key[name]}" for name in ("slide", "offset") if name in key)
        return f"window({_bare(key['window'])}, {key['length']}{more})"
    if "session_window" in key:
        return f"session_window({_bare(key['session_window'])}, {key['gap']})"
    return _column(key)


def _columns(columns: list[dict[str, str]]) -> str:
    return ", ".join(map(_column, columns))


def _column(item: dict[str, str]) -> str:
    name, expression = item.get("name"), _bare(item["expression"])
    return expression if name in {None, expression} else f"{name} = {expression}"


def _bare(expression: str) -> str:
    """A quoted column that needs no quotes without them."""
    inside = expression[1:-1]
    return inside if expression == f'"{inside}"' and inside.isidentifier() else expression
