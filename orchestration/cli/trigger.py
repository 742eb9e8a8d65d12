"""``--trigger`` as an option that is checked while the command line is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from orchestration.runtime.triggers import Trigger

__all__ = ["trigger_option"]

_F = TypeVar("_F", bound=Callable[..., Any])


class _TriggerType(click.ParamType[Any]):
    name = "trigger"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Trigger:
        from orchestration.errors import HeadwaterError
        from orchestration.runtime.triggers import parse_trigger

        try:
            return parse_trigger(str(value))
        except HeadwaterError as error:
            self.fail(str(error), param, ctx)


def trigger_option(function: _F) -> _F:
    """``--trigger once | available_now | "processing_time=10 seconds"``."""
    return click.option(
        "--trigger",
        type=_TriggerType(),
        metavar="TRIGGER",
        help='once, available_now, or "processing_time=10 seconds"; default: as declared.',
    )(function)
