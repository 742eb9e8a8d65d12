"""Commit by commit: which files a stream reads, and where it has to stop.

Whatever stops it is found before it is planned: what comes before is read first, and the error
comes when it is next. So no row is read twice, none is left out, and nothing has to be undone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from orchestration.errors import (
    HeadwaterError,
    SchemaError,
    TableColumnsChanged,
    TableLogGone,
    TableReplaced,
    TableRewritten,
    TableUnsupported,
)
from orchestration.sources.delta_names import is_mapped
from orchestration.sources.delta_offsets import Anchor, Position, marked
from orchestration.sources.delta_table import check_readable, columns_of, feed_is_on, log_retention

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestration.cursors.records import FileEntry
    from orchestration.sources.delta_commit import Commit, LoggedFile, TableMetadata

__all__ = ["Known", "OnChange", "Walk", "walk"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OnChange = Literal["fail", "skip", "ignore_deletes"]

_RESET = (
    "'headwater reset' empties the query's tables and reads this one anew, as it is now and then "
    "what comes"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the table before a walk.

    Attributes:
        place: What people call it.
        table_id: Its id.
        partitions: Columns that stand in the log instead of the files.
        columns: Its columns, as of ``columns_at``.
        columns_at: The version that they were looked up at: older ones may have fewer.
        declared: Columns that the user declared; ``None`` where the table's are taken.
        timezone: What timestamps without a zone mean.
        on_change: What becomes of changes to rows that were there.
        change_feed: Whether the changes themselves are read.
        mapped: Whether columns have other names in the files.
    """

    place: str
    table_id: str
    partitions: tuple[str, ...]
    columns: dict[str, str]
    columns_at: int
    declared: tuple[str, ...] | None
    timezone: str | None
    on_change: OnChange
    change_feed: bool = False
    mapped: bool = False


@dataclass(slots=True)
class Walk:
    """What a walk found.

    Attributes:
        files: What to read, in order.
        anchors: Commits that were read.
        next: The version after the last of them.
        stopped: Why it does not go on from there.
        passed: Version to operation of commits whose rows are not read.
        columns: The table's columns at the end.
        retention_seconds: How long it keeps its log, where that was changed.
        notes: Oddities worth telling.
        oldest: Version and time of the first commit that gives anything.
        mapped: Whether columns have other names in the files, at the end.
    """

    next: int
    columns: dict[str, str]
    mapped: bool
    files: list[FileEntry] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)
    stopped: HeadwaterError | None = None
    passed: dict[int, str] = field(default_factory=dict)
    retention_seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    oldest: tuple[int, datetime] | None = None


def walk(
    known: Known, first: Position, tags: dict[int, str], commits: Iterable[Commit | None]
) -> Walk:
    """Follow the log from a position on.

    Args:
        known: The table.
        first: Where to begin.
        tags: Version to tag of the commits, in order.
        commits: The commits themselves.
    """
    found = Walk(first.version, dict(known.columns), known.mapped)
    for (version, tag), commit in zip(tags.items(), commits, strict=True):
        try:
            if commit is None:
                raise TableLogGone(
                    f"version {version} of {known.place} was cleaned from its log while it was "
                    "read",
                    remedy=f"keep the log longer (delta.logRetentionDuration); {_RESET}",
                )
            entries = list(_entries(known, found, commit))
        except HeadwaterError as error:
            found.stopped = error
            break
        skip = first.file if version == first.version else 0
        if entries[skip:] and found.oldest is None and commit.time_us:
            found.oldest = (version, _EPOCH + timedelta(microseconds=commit.time_us))
        found.files += entries[skip:]
        found.anchors.append(Anchor(version, tag, commit.digest))
        found.next = version + 1
    return found


def _entries(known: Known, found: Walk, commit: Commit) -> Iterator[FileEntry]:
    """The files of a commit that are read."""
    if commit.reader_version is not None:
        check_readable(known.place, commit.version, commit.reader_features, {})
    if commit.metadata is not None:
        _check_metadata(known, found, commit.version, commit.metadata)
    if known.change_feed:
        from orchestration.sources.delta_feed import feed_entries

        yield from feed_entries(known, commit, mapped=found.mapped)
        return
    # A RESTORE may only bring back files: their rows were read when they came first.
    changed = commit.removed or commit.operation.upper() == "RESTORE"
    if changed and _passed_over(known, commit):
        found.passed[commit.version] = commit.operation or "a change"
        return
    for number, file in enumerate(commit.added):
        check_file(known, commit.version, file)
        yield marked(file, Position(commit.version, number), mapped=found.mapped)


def check_file(known: Known, version: int, file: LoggedFile, *, vectors: bool = False) -> None:
    """Refuse a file that cannot be read as it is.

    Args:
        known: The table.
        version: The commit that names it.
        file: The file.
        vectors: Whether rows that are marked as deleted can be left out.

    Raises:
        TableUnsupported: Rows of it are marked as deleted, or it lies elsewhere.
    """
    if file.vector and not vectors:
        raise TableUnsupported(
            f"version {version} of {known.place}: rows of {file.path} are marked as deleted "
            "(deletion vectors), which a stream of files cannot leave out",
            remedy="switch delta.enableDeletionVectors off where the table is written; "
            f"or {_RESET}",
        )
    if "://" in file.path or file.path.startswith("/"):
        raise TableUnsupported(
            f"version {version} of {known.place}: {file.path} lies outside of the table (a "
            "shallow clone)",
            remedy="read the table that was cloned, or make a deep clone",
        )


def _passed_over(known: Known, commit: Commit) -> bool:
    """Whether a commit that takes rows away is left out.

    Raises:
        TableRewritten: It may not be.
    """
    if known.on_change == "skip":
        return True
    # A DELETE writes what is left of a file anew: no row of it is new.
    only_deletes = not commit.added or commit.operation.upper() == "DELETE"
    if known.on_change == "ignore_deletes" and only_deletes:
        return True
    what, choices = _of_ours(commit)
    if only_deletes:
        choices.append("on_change='ignore_deletes' goes on as if nothing had been deleted")
    choices += [
        "on_change='skip' leaves out every commit that changes rows, with the rows it adds",
        "change_feed=True reads the changes themselves, where the table has a change data feed",
        _RESET,
    ]
    raise TableRewritten(
        f"version {commit.version} of {known.place}: {what} took away {len(commit.removed)} files "
        f"and added {len(commit.added)}, and an append stream cannot take back rows it has given",
        remedy="choose: " + "; ".join(choices),
    )


def _of_ours(commit: Commit) -> tuple[str, list[str]]:
    """What a commit did, and what to do where a query of ours did it."""
    info = commit.info or {}
    query = info.get("headwater.query") or str(info.get("headwater.app_id", "")).partition("/")[0]
    if info.get("headwater.batch_id") is not None:
        choice = (
            "a table that its batches rewrite (output mode 'update' or 'complete', scd1_sink, "
            "scd2_sink) has no appended rows to follow: read it whole with static(...), write it "
            f"in mode 'append' with a watermark, or read what {query!r} reads"
        )
        batch = info["headwater.batch_id"]
        return f"batch {batch} of query {query!r}, which rewrites files,", [choice]
    if info.get("headwater.reset_to") is not None:
        return f"a reset of query {query!r}", []
    if info.get("headwater.through_batch") is not None:
        return "a full reprocess", ["read a twin whole with static(...): each run replaces it"]
    return _did(commit), []


def _did(commit: Commit) -> str:
    info = commit.info or {}
    parameters = info.get("operationParameters") or {}
    more = [str(parameters[name]) for name in ("mode", "predicate") if parameters.get(name)]
    return (commit.operation or "a commit") + (f" ({', '.join(more)})" if more else "")


def _check_metadata(known: Known, found: Walk, version: int, now: TableMetadata) -> None:
    """Hold a change of the table's description against what the stream was made for.

    Raises:
        TableReplaced, TableColumnsChanged, TableUnsupported: It does not fit.
    """
    if now.table_id != known.table_id:
        raise TableReplaced(
            f"version {version} of {known.place} begins another table: its id is {now.table_id}, "
            f"and was {known.table_id}",
            remedy=f"it was re-created. {_RESET}",
        )
    check_readable(known.place, version, (), now.configuration)
    found.mapped = is_mapped(now.configuration)
    found.retention_seconds = log_retention(now.configuration).total_seconds()
    if known.change_feed and not feed_is_on(now.configuration):
        raise TableUnsupported(
            f"version {version} of {known.place} switches the change data feed off",
            remedy="switch it on again and 'headwater reset'; changes in between are nowhere",
        )
    if now.partitions != known.partitions:
        raise TableColumnsChanged(
            f"version {version} of {known.place} is partitioned by {list(now.partitions)}, and "
            f"was by {list(known.partitions)}",
            remedy=_RESET,
        )
    try:
        columns = columns_of(now.schema, known.timezone)
    except SchemaError:
        if known.declared is None:
            raise
        return
    if version <= known.columns_at or columns == found.columns:
        return  # the columns the stream has are those of a later version
    told = _difference(found.columns, columns)
    if known.declared is None:
        listed = ", ".join(f'"{name}": "{kind}"' for name, kind in columns.items())
        raise TableColumnsChanged(
            f"version {version} of {known.place} has other columns than the stream: {told}",
            remedy=f"declare the columns to go on with, delta(..., schema={{{listed}}}), or fewer: "
            "rows of before have null in a new one, and the sink wants "
            f"schema_evolution='add_columns' for it; or {_RESET}",
        )
    found.columns = columns
    low = {name.lower() for name in columns}
    lacking = [name for name in known.declared if name.lower() not in low]
    if lacking:
        found.notes.append(f"from version {version} on there is no {', '.join(lacking)}: null")
    else:
        found.notes.append(f"version {version} changed the table's columns: {told}")


def _difference(before: dict[str, str], after: dict[str, str]) -> str:
    told = [f"{name} {kind} is new" for name, kind in after.items() if name not in before]
    told += [f"{name} is gone" for name in before if name not in after]
    told += [
        f"{name} was {before[name]} and is {kind}"
        for name, kind in after.items()
        if before.get(name, kind) != kind
    ]
    return ", ".join(told) or "their order"
