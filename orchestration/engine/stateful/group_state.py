"""What a function of ``apply_in_arrow_with_state`` is given to keep for a key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from orchestration.errors import DeclarationError

__all__ = ["GroupState"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class GroupState:
    """The state of one key during one call.

    What is not changed stays as it is, but for the timeout: every call clears it, so set it anew
    each time it is wanted.

    Args:
        names: Columns of the state.
        value: What was kept; ``None`` where nothing is.
        watermark_us: The watermark of this batch, microseconds since 1970.
        timed_out: The call is for a timeout that the watermark has passed.
        timeouts: Whether timeouts may be set.
    """

    def __init__(
        self,
        names: list[str],
        value: dict[str, Any] | None,
        *,
        watermark_us: int,
        timed_out: bool,
        timeouts: bool,
    ) -> None:
        self._names = names
        self._value = value
        self._watermark_us = watermark_us
        self._timed_out = timed_out
        self._timeouts = timeouts
        self._changed = False
        self._timeout_us: int | None = None

    @property
    def exists(self) -> bool:
        """Whether something is kept for the key."""
        return self._value is not None

    def get(self) -> dict[str, Any] | None:
        """What is kept, a copy; ``None`` where nothing is."""
        return None if self._value is None else dict(self._value)

    def update(self, value: dict[str, Any]) -> None:
        """Keep this instead; columns left out are null.

        Raises:
            DeclarationError: It is no dict, or has other columns than ``state_schema``.
        """
        if not isinstance(value, dict):
            raise DeclarationError(
                f"state.update({value!r}): a state is a dict, column to value",
                remedy=f"write state.update({{{self._names[0]!r}: ...}})",
            )
        unknown = [name for name in value if name not in self._names]
        if unknown:
            raise DeclarationError(
                f"state.update: {unknown} are no columns of the state, which has {self._names}",
                remedy="declare them in state_schema, or leave them out",
            )
        self._value = {name: value.get(name) for name in self._names}
        self._changed = True

    def remove(self) -> None:
        """Forget the key; its timeout too."""
        self._value = None
        self._timeout_us = None
        self._changed = True

    def set_timeout_timestamp(self, moment: datetime | float) -> None:
        """Be called once the watermark has passed a moment, if no rows of the key come before.

        That call is in the first batch whose watermark is later than the moment, with no rows.

        Args:
            moment: Aware, or seconds since 1970.

        Raises:
            DeclarationError: The watermark has passed it already, or the declaration does not
                say ``timeout="event_time"``.
        """
        if not self._timeouts:
            raise DeclarationError(
                "set_timeout_timestamp: the declaration says nothing of timeouts",
                remedy='write apply_in_arrow_with_state(..., timeout="event_time")',
            )
        wanted = _microseconds(moment)
        if wanted < self._watermark_us:
            raise DeclarationError(
                f"set_timeout_timestamp({moment}): the watermark is {self.watermark} already",
                remedy="take a later moment, e.g. state.watermark + timedelta(minutes=10)",
            )
        self._timeout_us = wanted

    @property
    def has_timed_out(self) -> bool:
        """Whether this call is for a timeout: there are no rows then."""
        return self._timed_out

    @property
    def watermark(self) -> datetime:
        """The watermark of this batch; 1970 as long as there is none."""
        return _EPOCH + timedelta(microseconds=max(0, self._watermark_us))

    # -- what became of it, for the engine --------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether :meth:`update` or :meth:`remove` was called."""
        return self._changed

    @property
    def timeout_us(self) -> int | None:
        """The timeout that this call has set, microseconds since 1970."""
        return self._timeout_us


def _microseconds(moment: datetime | float) -> int:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise DeclarationError(
                f"set_timeout_timestamp({moment}): it names no time zone",
                remedy="write it with one: moment.replace(tzinfo=UTC)",
            )
        return (moment - _EPOCH) // _MICROSECOND
    return round(moment * 1_000_000)
