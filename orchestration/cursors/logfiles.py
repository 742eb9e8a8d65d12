"""Plans and seals as small files beside the state: the batch log's second copy.

The database is what runs go by. The files are there for the day it is lost, or brought back from
an old backup: they then know batches that it does not.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestration.cursors.database import from_us
from orchestration.cursors.records import Generation, Plan, Seal
from orchestration.errors import CursorStoreBehindSink, CursorStoreError, CursorStoreUnavailable
from orchestration.objects import Place, PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["BatchLog", "LogEntry"]

_VERSION = "v1"
_GENERATION = "generation.json"
_LISTING = "listing.json"
_LOG_FILE = re.compile(r"(?P<batch>\d{20})\.(?P<kind>plan|seal)\.json$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What the files say of one batch.

    Attributes:
        batch_id: The batch.
        plan: Its plan; ``None`` where the file is missing or torn.
        seal: Its seal; ``None`` where the file is missing or torn.
        sealed_at: When the seal's file was written, aware UTC; the epoch where there is none.
        torn: Names of files that are there and cannot be read.
    """

    batch_id: int
    plan: Plan | None
    seal: Seal | None
    sealed_at: datetime
    torn: tuple[str, ...]


class BatchLog:
    """The log files of one generation.

    ::

        <state>/<query>/                                  the place
            <number>-<token>/
                generation.json                           replaced when the generation changes
            listing.json                              by source: files it left out for good
                log/00000000000000000000.plan.json        written once, never changed
                log/00000000000000000000.seal.json        replaced where an upsert was rebuilt

    Every file is a line that names its format, then one JSON document and a line feed::

        v1
        {"hash":"<Plan.hash>","plan":{...}}

    A plan is written with its files and its hash, so that a damaged one is noticed. Each file is
    written after its row in the database, by the holder of the lease: a plan's file that the
    database does not know therefore means that the database is an older copy.

    Args:
        place: The query's directory, ``<state>/<query>``.
        generation: The generation; its number and token name the directory.
    """

    def __init__(self, place: Place, generation: Generation) -> None:
        self._place = place
        self.generation = generation
        self.directory = f"{generation.number}-{generation.token}"

    def __repr__(self) -> str:
        return f"BatchLog({self._place!r}, {self.directory!r})"

    @classmethod
    def find(cls, place: Place) -> tuple[list[BatchLog], tuple[str, ...]]:
        """The logs of all generations below a query's place, and the torn ones' file names."""
        logs, torn = [], []
        with _faults(place):
            names = [info.path for info in place.list() if info.path.count("/") == 1]
            for name in sorted(names):
                if not name.endswith(f"/{_GENERATION}"):
                    continue
                value = _decode(name, place.get(name) or b"")
                if value is None:
                    torn.append(name)
                else:
                    logs.append(cls(place, _generation_from_json(value)))
        logs.sort(key=lambda log: (log.generation.number, log.generation.created_at))
        return logs, tuple(torn)

    def write_generation(self) -> None:
        """Write, or replace, what is known of the generation."""
        name = f"{self.directory}/{_GENERATION}"
        data = _encode(_generation_to_json(self.generation))
        with _faults(self._place):
            if self._place.get(name) != data:  # runs that change nothing write nothing
                self._place.put(name, data)

    def write_listing(self, source: str, listing: Mapping[str, Any]) -> None:
        """Write what of a source's listing must outlive the database."""
        known = self.read_listings()
        if known.get(source) != listing:
            with _faults(self._place):
                self._place.put(
                    f"{self.directory}/{_LISTING}", _encode({**known, source: dict(listing)})
                )

    def read_listings(self) -> dict[str, dict[str, Any]]:
        """What :meth:`write_listing` wrote, by source."""
        name = f"{self.directory}/{_LISTING}"
        with _faults(self._place):
            return _decode(name, self._place.get(name) or b"") or {}

    def write_plan(self, plan: Plan) -> None:
        """Write a plan's file; nothing when it is there already.

        Raises:
            CursorStoreBehindSink: Another plan of this batch is there.
        """
        name = self._plan_name(plan.batch_id)
        data = _encode({"hash": plan.hash, "plan": plan.to_json()})
        with _faults(self._place):
            if self._place.put_if_absent(name, data):
                return
            present = _plan(name, self._place.get(name) or b"")
            if present is None:  # torn by a power cut; ours is what the database has
                self._place.put(name, data)
                return
        if present.hash != plan.hash:
            raise CursorStoreBehindSink(
                f"Batch {plan.batch_id} of {plan.query_id!r} was planned before, by a cursor "
                f"store that knew more: {self._place.full_name(name)} has plan {present.hash}, "
                f"this cursor store {plan.hash}",
                remedy=f"headwater cursors rebuild {plan.query_id}",
            )

    def write_seal(self, batch_id: int, seal: Seal) -> None:
        """Write a seal's file, replacing one of an attempt that was replaced in the database."""
        name = self._seal_name(batch_id)
        data = _encode(seal.to_json())
        with _faults(self._place):
            if not self._place.put_if_absent(name, data) and self._place.get(name) != data:
                self._place.put(name, data)

    def has_plan(self, batch_id: int) -> bool:
        """Whether there is a plan's file. One look, however long the log is.

        True for a batch that the database does not know means that it is an older copy.
        """
        with _faults(self._place):
            return self._place.exists(self._plan_name(batch_id))

    def has_seal(self, batch_id: int) -> bool:
        """Whether there is a seal's file; what :meth:`has_plan` says holds for it too."""
        with _faults(self._place):
            return self._place.exists(self._seal_name(batch_id))

    def batch_ids(self) -> list[int]:
        """The batches that have any file, in order."""
        with _faults(self._place):
            names = (info.path for info in self._place.list(f"{self.directory}/log"))
            found = {int(match["batch"]) for name in names if (match := _LOG_FILE.search(name))}
        return sorted(found)

    def read_all(self) -> Iterator[LogEntry]:
        """The batches in order, read one after another."""
        with _faults(self._place):
            times = {
                info.path: from_us(info.modified_us)
                for info in self._place.list(f"{self.directory}/log")
                if info.path.endswith(".seal.json")
            }
        for batch_id in self.batch_ids():
            names = self._plan_name(batch_id), self._seal_name(batch_id)
            with _faults(self._place):
                plan_data, seal_data = (self._place.get(name) for name in names)
            plan = None if plan_data is None else _plan(names[0], plan_data)
            seal = None if seal_data is None else _seal(names[1], seal_data)
            torn = [
                name
                for name, data, read in zip(
                    names, (plan_data, seal_data), (plan, seal), strict=True
                )
                if data is not None and read is None
            ]
            yield LogEntry(batch_id, plan, seal, times.get(names[1], _EPOCH), tuple(torn))

    def discard(self, name: str) -> None:
        """Delete a torn file, so that its batch can be planned anew."""
        with _faults(self._place):
            self._place.delete([name])

    def _plan_name(self, batch_id: int) -> str:
        return f"{self.directory}/log/{batch_id:020d}.plan.json"

    def _seal_name(self, batch_id: int) -> str:
        return f"{self.directory}/log/{batch_id:020d}.seal.json"


def _encode(value: dict[str, Any]) -> bytes:
    return f"{_VERSION}\n{json.dumps(value, separators=(',', ':'))}\n".encode()


def _decode(name: str, data: bytes) -> dict[str, Any] | None:
    """The document, or ``None`` when the file is torn.

    Raises:
        CursorStoreError: The file is of a format of later versions.
    """
    version, _, rest = data.partition(b"\n")
    if re.fullmatch(rb"v\d+", version) and version != _VERSION.encode():
        raise CursorStoreError(
            f"{name} is in format {version.decode()}; this Headwater reads {_VERSION}",
            remedy="Install the Headwater that wrote it, or a newer one.",
        )
    if version != _VERSION.encode() or not rest.endswith(b"\n"):
        return None
    try:
        value = json.loads(rest)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _plan(name: str, data: bytes) -> Plan | None:
    value = _decode(name, data)
    if value is None:
        return None
    try:
        plan = Plan.from_json(value["plan"])
    except (KeyError, TypeError, ValueError):
        return None
    return plan if plan.hash == value.get("hash") else None


def _seal(name: str, data: bytes) -> Seal | None:
    value = _decode(name, data)
    if value is None:
        return None
    try:
        return Seal.from_json(value)
    except (KeyError, TypeError, ValueError):
        return None


def _generation_to_json(generation: Generation) -> dict[str, Any]:
    return {
        "query_id": generation.query_id,
        "number": generation.number,
        "token": generation.token,
        "status": generation.status,
        "fingerprint": generation.fingerprint,
        "input_schema": generation.input_schema,
        "table_ids": generation.table_ids,
        "created_at": generation.created_at.isoformat(),
    }


def _generation_from_json(value: dict[str, Any]) -> Generation:
    return Generation(**{**value, "created_at": datetime.fromisoformat(value["created_at"])})


@contextmanager
def _faults(place: Place) -> Iterator[None]:
    try:
        yield
    except PlaceError as error:
        raise CursorStoreUnavailable(
            f"The log files below {place!r} cannot be reached: {error.args[0]}",
            remedy=error.remedy or "Check HEADWATER_STATE and the credentials for it.",
        ) from error
