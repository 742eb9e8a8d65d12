"""What the demo's acts tell with: numbered titles, and promises that are held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.errors import HeadwaterError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BrokenPromiseError", "Stage"]


class BrokenPromiseError(HeadwaterError):
    """The demo saw something that must not be."""


class Stage:
    """Where the demo is played.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._step = 0

    def title(self, text: str, how: str = "") -> None:
        """Begin a step.

        Args:
            text: What comes.
            how: The command that does the same.
        """
        self._step += 1
        self.console.print()
        self.console.print(f"{self._step}. {text}", style="bold cyan")
        if how:
            self.console.print(f"   $ {how}", style="dim")

    def expect(self, truth: bool, promise: str) -> None:
        """Hold the demo to a promise.

        Raises:
            BrokenPromiseError: It is not kept.
        """
        if not truth:
            raise BrokenPromiseError(
                f"the demo is not as promised: {promise}",
                remedy="this is a fault of Headwater; please report it with the output above",
            )
