"""A file's bytes in chunks that end where a line ends, however long the file or a line is."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["HEAD_BYTES", "Chunk", "LongLine", "UnreadableFile", "opened", "read_chunks"]

#: Bytes of an over-long record that are kept.
HEAD_BYTES = 4096
#: Bytes read at a time. Large enough that the calls do not count, small enough that what is made
#: of them stays in the cache, and that a small batch keeps every thread busy.
CHUNK_BYTES = 2 * 1024 * 1024

_CODECS: dict[str, Any] = {".gz": "gzip", ".zst": "zstd"}
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"\xff\xfe": "the file is UTF-16 or UTF-32; expected UTF-8",
    b"\xfe\xff": "the file is UTF-16; expected UTF-8",
    b"\x00\x00\xfe\xff": "the file is UTF-32; expected UTF-8",
    b"\x1f\x8b": "the file is gzip-compressed, but its name does not end in .gz",
    b"\x28\xb5\x2f\xfd": "the file is zstd-compressed, but its name does not end in .zst",
    b"PAR1\x15": "the file is Parquet",
}


class UnreadableFile(Exception):
    """A file that cannot be read at all; the message says why. It is set aside whole."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines; the last one of a file may lack its newline.

    Attributes:
        data: The lines, and perhaps more behind them: cutting it off would be a copy.
        size: Bytes of ``data`` that count.
    """

    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit: what is kept of it.

    Attributes:
        head: Its first bytes.
        size: All its bytes, without the newline.
        sha256: Of all its bytes, hex.
    """

    head: bytes
    size: int
    sha256: str


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A readable stream of a file's bytes, decompressed as its name says.

    A compressed file is read to its end once before, so that a damaged one is found before the
    first row of it is used.

    Raises:
        UnreadableFile: It is damaged or cut off.
    """
    codec = _CODECS.get(path.suffix.lower())
    if codec is None or path.stat().st_size == 0:
        with path.open("rb", buffering=0) as stream:
            yield stream
        return
    with path.open("rb"):
        pass  # that it is gone, or no file, is another matter than its data
    try:
        with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), codec) as stream:
            while stream.read(CHUNK_BYTES):
                pass
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFile(f"the {codec} data is damaged or cut off: {error}") from None
    with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), codec) as stream:
        yield stream


def read_chunks(
    stream: Any, max_line_bytes: int, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Chunk | LongLine]:
    """Chunks of whole lines, and what is kept of lines over the limit.

    A byte order mark at the start is left out. Lines over the limit inside a chunk are left to
    the reader of the chunk.

    Raises:
        UnreadableFile: The first bytes say that this is no UTF-8 text.
    """
    rest = stream.read(chunk_bytes)
    for mark, reason in _FOREIGN.items():
        if rest.startswith(mark):
            raise UnreadableFile(reason)
    rest = rest.removeprefix(_BOM)
    plain = isinstance(stream, io.FileIO)
    while rest:
        cut = rest.rfind(b"\n") + 1
        if cut:
            yield Chunk(rest, cut)
            if plain:  # the cut-off line is read again, which is cheaper than joining
                stream.seek(cut - len(rest), os.SEEK_CUR)
                rest = stream.read(chunk_bytes)
                continue
            rest = rest[cut:]
        more = stream.read(chunk_bytes)
        if not more:
            break
        rest += more
        if len(rest) > max_line_bytes and b"\n" not in rest:
            long, rest = _long_line(stream, rest, chunk_bytes)
            yield long
            rest = rest or stream.read(chunk_bytes)
    if rest:
        yield Chunk(rest, len(rest))


def _long_line(stream: Any, start: bytes, chunk_bytes: int) -> tuple[LongLine, bytes]:
    """Read on to the line's end, keeping nothing but its hash."""
    head, size, digest = start[:HEAD_BYTES], len(start), hashlib.sha256(start)
    while True:
        more = stream.read(chunk_bytes)
        cut = more.find(b"\n")
        part = more if cut < 0 else more[:cut]
        digest.update(part)
        size += len(part)
        if cut >= 0 or not more:
            rest = more[cut + 1 :] if cut >= 0 else b""
            return LongLine(head, size, digest.hexdigest()), rest
