"""Where in its source's log a change stands, as text that sorts.

==============  =================================================================================
PostgreSQL      ``1/`` last commit's LSN ``/`` LSN of the change ``/`` its place in the transaction
                ``/`` 0 of a delete, 1 of others. An initial snapshot's rows begin with ``0/``
MySQL           ``1/`` number of the binlog file ``/`` position ``/`` row of the event ``/`` 0 or 1
Maxwell         as MySQL; without positions ``1/`` second ``/`` xid ``/`` place. Bootstrap: ``0/``
Canal           ``1/`` millisecond ``/`` id of the message ``/`` row of the message ``/`` 0 or 1
DMS             ``0/`` or ``1/`` file ``/`` row, or the column that orders
==============  =================================================================================

Numbers are decimal, with zeros before them. Debezium reads PostgreSQL in the order of commits,
in which the LSNs of rows alone do not rise: a long transaction's are older than those of short
ones that ended before it.
"""

from __future__ import annotations

import re

from orchestration.engine.coercions import BadValue, shown

__all__ = ["LAST_PLACE", "binlog_number", "joined", "padded"]

#: Of a transaction's last row, where rows before it are counted and it is not.
LAST_PLACE = 9_999_999_999

_FILE = re.compile(r".*\.(\d{1,10})", re.ASCII | re.DOTALL)


def padded(value: int, width: int) -> str:
    """A number that sorts as text."""
    return str(value).zfill(width)


def joined(first: int, *parts: tuple[int, int], last: int | None = None) -> str:
    """A position of numbers and their widths.

    >>> joined(1, (42, 5), last=0)
    '1/00042/0'
    """
    texts = [str(first), *(padded(value, width) for value, width in parts)]
    return "/".join(texts if last is None else [*texts, str(last)])


def binlog_number(file: str) -> int:
    """The number in a binlog file's name.

    Raises:
        BadValue: It has none.
    """
    found = _FILE.fullmatch(file)
    if found is None:
        raise BadValue(f"{shown(file)} is no name of a binlog file")
    return int(found[1])
