"""What a stream has to know of its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["StreamSource"]


@runtime_checkable
class StreamSource(Protocol):
    """Where a stream's rows come from, as far as its declaration is concerned.

    Making one costs nothing: no listing, no connection, no heavy import.
    """

    @property
    def name(self) -> str:
        """Unique within the query. Offsets are kept under it, so it must never change."""

    @property
    def schema(self) -> pa.Schema | None:
        """The columns the stream starts with; ``None`` when they are still to be inferred.

        Partition columns are among them, and ``_rescued`` and ``_file`` where asked for.
        """

    def describe(self) -> dict[str, Any]:
        """What it reads and how, as JSON without secrets; shown, and kept with the query.

        ``kind``, ``path`` and ``format`` say which data it is: they may not change while a
        query goes on. Everything else may.
        """
