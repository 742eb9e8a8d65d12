"""What a Parquet file says of itself, from its footer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestration.objects import PlaceError
from orchestration.sources.listing import unavailable

if TYPE_CHECKING:
    from orchestration.objects import Place

__all__ = ["count_parquet_rows", "parquet_footer"]

_FOOTER_GUESS = 64 * 1024  # most footers fit, and one request is enough then
_TAIL = 8  # length of the footer, little endian, and the letters PAR1


def count_parquet_rows(place: Place, path: str) -> int:
    """Rows of a file; 0 where it is gone or no Parquet, which reading it will tell.

    Raises:
        SourceUnavailable: The place does not answer.
    """
    found = parquet_footer(place, path)
    return 0 if found is None else int(found.num_rows)


def parquet_footer(place: Place, path: str) -> Any:
    """A file's metadata; ``None`` where it is gone or no Parquet.

    Raises:
        SourceUnavailable: The place does not answer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tail = place.get_tail(path, _FOOTER_GUESS)
        needed = int.from_bytes(tail[-_TAIL:-4], "little") + _TAIL if len(tail) > _TAIL else 0
        if needed > len(tail) == _FOOTER_GUESS:
            tail = place.get_tail(path, needed)
    except PlaceError as error:
        if error.kind in {"missing", "changed"}:
            return None
        raise unavailable(error) from error
    try:
        return pq.read_metadata(pa.BufferReader(tail))
    except (pa.ArrowInvalid, OSError):
        return None
