"""Kill a query at every step of the protocol, and show that its tables come out the same.

The query runs on a copy of its input: once undisturbed, then again and again in homes of their
own, each time in a process that is killed with SIGKILL — at a named crash point, or at a random
moment — and started again until it is done. Table, quarantine and late rows of each must then
equal, as multisets of rows, those of the undisturbed run; of floating-point sums the last bits
do not count.
"""

from __future__ import annotations

import random
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from orchestration.clock import Clock, SystemClock
from orchestration.engine.base import LATE_SCHEMA, QUARANTINE_SCHEMA
from orchestration.errors import DeclarationError, HeadwaterError
from orchestration.runtime.crashpoints import CRASH_POINTS
from orchestration.runtime.scratch import InputCopy, copy_input, in_scratch, scratch_environment
from orchestration.runtime.twin_floats import summed_in
from orchestration.runtime.victim import Finished, Victim
from orchestration.sinks.snapshot import Snapshot, local_files, read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.session import Session

__all__ = ["Kill", "Proof", "prove"]

_NOTHING = Snapshot(0, ())
# Without what says when a record was set aside, and not which.
_QUARANTINE = pa.schema(
    [item for item in QUARANTINE_SCHEMA if item.name not in {"batch_id", "quarantined_at"}]
)
_LATE = pa.schema([item for item in LATE_SCHEMA if item.name != "late_at"])
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """One run that was killed, and how it came out.

    Attributes:
        point: A crash point, or ``random 0.41 s`` after the query had begun.
        killed: False when the run was over before, or never came to the point.
        recovered: Whether it finished after it was started again.
        rows, quarantined, late: Of its tables in the end.
        verdict: ``identical`` to the undisturbed run, ``different``, or ``failed``.
        detail: What differs, or why it failed.
    """

    point: str
    killed: bool
    recovered: bool
    rows: int
    quarantined: int
    verdict: Literal["identical", "different", "failed"]
    detail: str = ""
    late: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """Outcome of :func:`prove`.

    Attributes:
        query: The query.
        files, bytes, left_out: The copied input, and files that were left out of it.
        batches, rows, quarantined, late: The undisturbed run.
        seed: Of the random moments.
        kills: Every killed run.
        not_compared: Columns that depend on now().
        scratch: Where it all lies, when something differs; else deleted.
    """

    query: str
    files: int
    bytes: int
    left_out: int
    batches: int
    rows: int
    quarantined: int
    seed: int
    kills: tuple[Kill, ...] = ()
    not_compared: tuple[str, ...] = ()
    scratch: str | None = None
    late: int = 0

    @property
    def passed(self) -> bool:
        """Every run is identical, and every named crash point was really hit."""
        return all(
            kill.verdict == "identical" and (kill.killed or kill.point not in CRASH_POINTS)
            for kill in self.kills
        )

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        kills = [{name: getattr(kill, name) for name in kill.__slots__} for kill in self.kills]
        return {**values, "kills": kills, "passed": self.passed}


@dataclass(frozen=True, slots=True)
class _Case:
    """A kill that is to be done: at a crash point, or at a part of the undisturbed run's time."""

    point: str
    home: Path
    nth: int = 1
    seconds: float | None = None


def prove(
    query: StreamingQuery,
    command: Sequence[str],
    *,
    points: Sequence[str] = CRASH_POINTS,
    kills: int = 5,
    seed: int | None = None,
    max_bytes: int = 100_000_000,
    workers: int = 2,
    clock: Clock | None = None,
    on_start: Callable[[Proof], None] | None = None,
    on_kill: Callable[[Kill], None] | None = None,
) -> Proof:
    """Kill the query everywhere, and compare.

    Args:
        query: A query over files. Its own home is not touched.
        command: Starts the same query in another process, see :class:`Victim`; ``--input``,
            ``--max-files`` and ``--home`` are appended.
        points: Crash points to kill it at.
        kills: Kills at random moments, besides those.
        seed: Of these moments; random by default, and part of the result.
        max_bytes: How much input is copied at most.
        workers: Processes at once.
        clock: The time.
        on_start: Called with the undisturbed run.
        on_kill: Called with each killed run, as it is over.

    Raises:
        DeclarationError: The query cannot be proved: not over files, or a where() uses now().
        HeadwaterError: There is no input, or the undisturbed run fails.
    """
    if query.stream.where_is_volatile:
        raise DeclarationError(
            f"which rows of query {query.name!r} pass depends on now(), so no two runs are alike",
            remedy="compare with a column of the data instead of now()",
        )
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    root = query.settings.scratch / f"prove-{uuid.uuid4().hex[:12]}"
    proof: Proof | None = None
    try:
        copied = copy_input(
            query, root / "input", max_bytes=max_bytes, clock=clock or SystemClock()
        )
        limits = ["--input", str(copied.directory), "--max-files", str(copied.max_files)]
        victim = Victim([*command, *limits], scratch_environment(query.settings))
        done = victim.finish(root / "undisturbed")
        with _tables(query, copied, root / "undisturbed") as plain:
            proof = _draft(plain, copied, done, seed)
            if on_start:
                on_start(proof)
            cases = _cases(root, points, kills, seed, done)
            found: dict[str, Kill] = {}
            for case, fate in _suffer(victim, cases, workers):
                kill = _judge(case, fate, plain, lambda home: _tables(query, copied, home))
                found[case.home.name] = kill
                if kill.verdict == "identical":
                    shutil.rmtree(case.home, ignore_errors=True)
                if on_kill:
                    on_kill(kill)
        proof = replace(proof, kills=tuple(found[case.home.name] for case in cases))
        if not all(kill.verdict == "identical" for kill in proof.kills):
            proof = replace(proof, scratch=str(root))
        return proof
    finally:
        if proof is None or proof.scratch is None:
            shutil.rmtree(root, ignore_errors=True)


def _draft(plain: _Tables, copied: InputCopy, done: Finished, seed: int) -> Proof:
    return Proof(
        query=plain.session.query.name,
        files=copied.files,
        bytes=copied.bytes,
        left_out=copied.left_out,
        batches=done.batches,
        rows=plain.sink.rows,
        quarantined=plain.quarantine.rows,
        seed=seed,
        not_compared=tuple(plain.session.stream.volatile_columns()),
        late=plain.late.rows,
    )


def _cases(root: Path, points: Sequence[str], kills: int, seed: int, done: Finished) -> list[_Case]:
    """Every crash point in the second batch where there is one, then the random moments."""
    nth = 2 if done.batches > 1 else 1
    cases = [_Case(point, root / f"at-{point}", nth) for point in points]
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    for number in range(kills):
        seconds = round(chance.uniform(0.0, done.seconds), 3)
        cases.append(_Case(f"random, {seconds:.2f} s", root / f"random-{number}", seconds=seconds))
    return cases


@dataclass(frozen=True, slots=True)
class _Fate:
    """What became of a killed run: whether it was, and why it did not recover if it did not."""

    killed: bool
    error: str = ""


def _suffer(victim: Victim, cases: Sequence[_Case], workers: int) -> Iterator[tuple[_Case, _Fate]]:
    """Kill and restart each case in a process of its own, some at once."""

    def one(case: _Case) -> _Fate:
        killed = False
        try:
            killed = (
                victim.die_at(case.home, case.point, case.nth)
                if case.seconds is None
                else victim.die_after(case.home, case.seconds)
            )
            if killed:
                victim.finish(case.home)
        except HeadwaterError as error:
            return _Fate(killed, str(error.args[0]))
        return _Fate(killed)

    with ThreadPoolExecutor(workers, "prove") as pool:
        futures = {pool.submit(one, case): case for case in cases}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True, slots=True)
class _Tables:
    """What a home holds in the end."""

    session: Session
    sink: Snapshot
    quarantine: Snapshot
    late: Snapshot


@contextmanager
def _tables(query: StreamingQuery, copied: InputCopy, home: Path) -> Iterator[_Tables]:
    scratch = in_scratch(query, copied.directory, home)
    with scratch.open() as session:
        generation = session.store.queries.get(query.name)
        if generation is None or not session.bind(generation.input_schema):
            raise HeadwaterError(f"the run in {home} left no query behind")
        session.attach(generation)
        yield _Tables(
            session,
            read_snapshot(session.sink_table) or _NOTHING,
            read_snapshot(session.quarantine_table) or _NOTHING,
            read_snapshot(session.late_table) or _NOTHING,
        )


def _judge(
    case: _Case,
    fate: _Fate,
    plain: _Tables,
    tables: Callable[[Path], AbstractContextManager[_Tables]],
) -> Kill:
    """Compare what a killed run came to with the undisturbed one."""
    if fate.error:
        return Kill(case.point, fate.killed, False, 0, 0, "failed", fate.error)
    with tables(case.home) as found:
        left_out = plain.session.stream.volatile_columns()
        columns = pa.schema(
            [item for item in plain.session.output_schema if item.name not in left_out]
        )
        late = pa.schema([item for item in _LATE if not left_out or item.name != "row"])
        differences = [
            *_differences("table", columns, plain, found, "sink"),
            *_differences("quarantine", _QUARANTINE, plain, found, "quarantine"),
            *_differences("late rows", late, plain, found, "late"),
        ]
        return Kill(
            case.point,
            fate.killed,
            True,
            found.sink.rows,
            found.quarantine.rows,
            "different" if differences else "identical",
            "; ".join(differences),
            found.late.rows,
        )


def _differences(
    what: str,
    columns: pa.Schema,
    plain: _Tables,
    found: _Tables,
    role: Literal["sink", "quarantine", "late"],
) -> Iterator[str]:
    left, right = getattr(plain, role), getattr(found, role)
    left_table = getattr(plain.session, f"{role}_table")
    right_table = getattr(found.session, f"{role}_table")
    spool = found.session.settings.spool_dir
    with (
        local_files(left_table, left, spool) as left_files,
        local_files(right_table, right, spool) as right_files,
    ):
        result = plain.session.engine.compare(
            left_files,
            right_files,
            columns,
            samples=_SAMPLES,
            close=summed_in(plain.session) if role == "sink" else (),
        )
    if result.only_left or result.only_right:
        yield (
            f"{what}: {result.only_left:,} rows only in the undisturbed run, "
            f"{result.only_right:,} only in this one"
        )
