"""``headwater demo``: everything at once, on log files of its own; a test as well as a show."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from typing import TYPE_CHECKING

import click

from orchestration.cli.batch_bar import BatchBar
from orchestration.cli.child import command
from orchestration.cli.context import Context, pass_context
from orchestration.cli.demo_changes import play_changes
from orchestration.cli.demo_event_time import play_event_time
from orchestration.cli.demo_stage import Stage
from orchestration.cli.plan import show_preview
from orchestration.cli.quarantine import reasons_table
from orchestration.cli.shop_changes import CHANGE_LANDINGS, ShopChanges, write_change_files
from orchestration.cli.shop_events import LANDINGS, write_shop_files
from orchestration.cli.status import show_costs
from orchestration.cli.verify import show_verification
from orchestration.cli.web_logs import LogFiles, write_log_files
from orchestration.cli.words import count, duration, nothing_new, size
from orchestration.clock import SystemClock
from orchestration.errors import HeadwaterError, Refused
from orchestration.runtime.change_counts import ChangeCounts
from orchestration.runtime.contents import quarantined
from orchestration.runtime.preview import preview
from orchestration.runtime.reset import reset
from orchestration.runtime.status import costs, status
from orchestration.runtime.triggers import available_now
from orchestration.runtime.twin import reprocess
from orchestration.runtime.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from orchestration.config import Settings
    from orchestration.runtime.query import StreamingQuery
    from orchestration.runtime.runner import RunSummary

__all__ = ["demo"]

_MODULE = "assets.web_logs"
_BRONZE, _CLEAN = "web_logs_bronze", "web_logs_clean"
_VIEWS_MODULE, _VIEWS = "assets.page_views", "page_views_5m"
_CHANGES_MODULE = "assets.shop_cdc"
_CUSTOMERS, _HISTORY = "shop_customers", "shop_customers_history"
_LANDING = "landing/web_logs"
_MARKER = ".headwater-demo"
_OURS = "`headwater demo` wrote these files and replaces them.\n"
_HOURS = range(6)
_FILES = range(48)
_NEW = range(48, 52)
_LATE = range(-2, 0)  # of the day before: older than everything that was read, and sorted first
_LAST = range(52, 53)
_TOO_LATE = range(-4, -2)
_LINES = 5000
_PER_BATCH = 12


class NotOursError(Refused, HeadwaterError):
    """The demo would have to delete what it did not write."""


@click.command()
@pass_context
def demo(context: Context) -> None:
    """See what Headwater does: batches, a kill, the proof, and what it saves.

    Writes web-log files into landing/web_logs and runs the pipelines of assets/web_logs.py and
    assets/page_views.py on them, then those of assets/shop_cdc.py on a database's changes, in your
    normal home, so that 'make dev' then shows the same in Dagster. Run again, it starts over; files that it did not write are never touched.
    """
    from orchestration.config import Settings
    from orchestration.runtime.declared import choose, find_queries

    queries = find_queries(_MODULE)
    mine = {name: choose(queries, name, _MODULE) for name in (_CLEAN, _BRONZE)}
    shop = find_queries(_CHANGES_MODULE)
    mine |= {name: choose(shop, name, _CHANGES_MODULE) for name in (_CUSTOMERS, _HISTORY)}
    mine[_VIEWS] = choose(find_queries(_VIEWS_MODULE), _VIEWS, _VIEWS_MODULE)
    _Demo(context.console(), mine, Settings.load()).play()


class _Demo:
    def __init__(
        self, console: Console, queries: Mapping[str, StreamingQuery], settings: Settings
    ) -> None:
        self._console = console
        self._queries = queries
        self._settings = settings
        self._clock = SystemClock()
        self._written = LogFiles(0, 0, 0, 0)
        self._stage = Stage(console)

    @property
    def _clean(self) -> StreamingQuery:
        return self._queries[_CLEAN]

    def play(self) -> None:
        """Everything, in order."""
        started = self._clock.monotonic()
        landing = self._prepare()
        self._stage.title("48 log files land")
        self._write(landing, _FILES)
        self._stage.title("The plan: what would be read", f"headwater plan {_CLEAN}")
        self._plan()
        self._stage.title("The batches, one Delta commit each", f"headwater run {_CLEAN}")
        self._stage.expect(len(self._run(_CLEAN).batches) == 4, "four batches were planned")
        self._stage.title("The same again", f"headwater run {_CLEAN}")
        self._stage.expect(not self._run(_CLEAN).batches, "a second run has nothing to do")
        self._stage.title("More files; two are late: older than all that was read")
        self._write(landing, _NEW)
        self._write(landing, _LATE)
        self._stage.title("The process is killed, in the middle of a batch (SIGKILL) …")
        self._kill("during_write", "while it writes; nothing of it may count")
        self._stage.title("… started again, and killed just after Delta has the rows")
        self._kill("after_sink_commit", "Delta has the batch; the cursor store does not know yet")
        self._stage.title("Started a third time, it finishes that batch without reading it again")
        again = self._run(_CLEAN).batches
        self._stage.expect(bool(again) and again[0].replayed, "the killed batch is finished first")
        self._stage.title("One more file: an ordinary day")
        self._write(landing, _LAST)
        self._stage.expect(len(self._run(_CLEAN).batches) == 1, "one file makes one batch")
        self._run(_BRONZE)
        self._stage.title("Is every row there exactly once?", f"headwater verify {_CLEAN}")
        self._verify()
        self._stage.title("And what could not be read?", f"headwater quarantine {_BRONZE}")
        self._quarantine()
        self._stage.title("What it saved, measured", f"headwater status {_CLEAN}")
        with self._clean.open() as session:
            show_costs(self._console, costs(session))
        play_event_time(
            self._stage,
            self._queries[_VIEWS],
            run=lambda: self._run(_VIEWS),
            land_late=lambda: self._write(landing, _TOO_LATE),
        )
        self._changes()
        shop = self._shop()
        seconds = self._clock.monotonic() - started
        self._console.print(
            f"\nEverything as promised, in {duration(seconds)}. Next:\n"
            "  make dev                          Dagster on this data, the sensors on: drop a "
            f"file into\n{'':36}{_LANDING}/ and watch it arrive{shop}\n"
            f"  headwater prove {_CLEAN}    kill it at every step of the protocol\n"
            "  assets/                           the pipelines you just saw, and sessions, joins, "
            "totals:\n"
            f"{'':36}write yours beside them",
            style="bold green",
        )

    # -- steps --------------------------------------------------------------------------------

    def _prepare(self) -> Path:
        """Start over, where what is there is the demo's own."""
        landing = self._landing()
        marker = landing / _MARKER
        foreign = landing.is_dir() and not marker.exists() and any(landing.iterdir())
        if foreign:
            raise NotOursError(
                f"{landing} holds files that the demo did not write, and it would replace them",
                remedy="move them away, or look at your own data: headwater status",
            )
        ours = marker.exists()
        others = not self._free(CHANGE_LANDINGS)
        for name, query in self._queries.items():
            if others and name in {_CUSTOMERS, _HISTORY}:
                continue  # it reads files that are not the demo's: that act is left out
            with query.open() as session:
                state = status(session)
                if state.state == "never run":
                    continue
                if not ours and state.batches:
                    raise NotOursError(
                        f"query {name!r} has read {count(state.files, 'file')} that are not the "
                        "demo's, or not there any more; the demo would start it anew",
                        remedy=f"if nobody needs its {count(state.rows, 'row')}: headwater reset "
                        f"{name}",
                    )
                reset(session, f"demo-{uuid.uuid4()}")
        if ours:
            shutil.rmtree(landing)
        landing.mkdir(parents=True, exist_ok=True)
        marker.write_text(_OURS, "utf-8")
        return landing

    def _landing(self) -> Path:
        from pathlib import Path

        return Path(self._settings.resolve_input(_LANDING))

    def _write(self, landing: Path, numbers: range) -> None:
        more = write_log_files(landing, numbers, _LINES)
        self._written += more
        late = " of the day before" if numbers[0] < 0 else ""
        faulty = f", {more.faulty} of them no records" if more.faulty else ""
        self._console.print(
            f"  {count(more.files, 'file')}{late}: {more.valid + more.faulty:,} lines, "
            f"{size(more.bytes)}{faulty}"
        )

    def _plan(self) -> None:
        with self._clean.open() as session:
            found = preview(session, available_now(max_files=_PER_BATCH))
        show_preview(self._console, found, _CLEAN, None, self._clock.now())
        self._stage.expect(len(found.backlog.files) == len(_FILES), "every new file is in the plan")

    def _run(self, name: str) -> RunSummary:
        query = self._queries[name]
        with BatchBar(self._console) as bar:
            summary = query.execute(
                available_now(max_files=_PER_BATCH), on_plan=bar.planned, on_batch=bar.finished
            )
        if summary.batches:
            rows = sum(batch.num_output_rows for batch in summary.batches)
            changes = ChangeCounts.of(summary.batches)
            told = f"{count(rows, 'row')} added" if changes is None else changes.sentence
            self._console.print(f"  {name}: {told}")
        else:
            with query.open() as session:
                state = status(session)
            text = nothing_new(
                summary.seen_files, state.last_batch_id, state.last_batch_at, self._clock.now()
            )
            self._console.print(f"  {name}: {text}")
        return summary

    def _kill(self, point: str, meaning: str) -> None:
        """Run the query in a process of its own, which the kernel kills at ``point``."""
        done = subprocess.run(
            [*command(_MODULE, _CLEAN), "--max-files", str(_PER_BATCH)],
            env={**os.environ, "HEADWATER_CRASH_AT": point},
            capture_output=True,
            text=True,
            check=False,
        )
        self._stage.expect(
            done.returncode == -signal.SIGKILL,
            f"the process is killed at {point}, and ended with {done.returncode}: "
            f"{done.stderr.strip()[-500:]}",
        )
        with self._clean.open() as session:
            state = status(session)
        self._stage.expect(state.state == "unfinished", "the batch is known to be unfinished")
        self._console.print(f"  killed {point.replace('_', ' ')}: {meaning}")
        self._console.print(f"  headwater status: batch {state.last_batch_id} is {state.state}")

    def _verify(self) -> None:
        for name in (_CLEAN, _BRONZE):
            with self._queries[name].open() as session:
                full = reprocess(session)
                result = verify(session)
                state = status(session)
            show_verification(self._console, name, full, result)
            self._stage.expect(result.passed, f"{name} equals its full reprocess")
            if name == _BRONZE:
                self._stage.expect(
                    state.rows == self._written.valid,
                    f"{self._written.valid:,} records were written and {state.rows:,} are there",
                )
        self._console.print(f"  {count(self._written.valid, 'record')} written, as many in bronze")

    def _quarantine(self) -> None:
        with self._queries[_BRONZE].open() as session:
            found = quarantined(session, 0)
        self._console.print(reasons_table(found))
        self._stage.expect(
            found.total == self._written.faulty,
            f"{self._written.faulty} lines are no records and {found.total} are in quarantine",
        )
        self._console.print(
            f"  {self._written.faulty} faulty lines written, as many here, each with file, line "
            "and text"
        )

    def _changes(self) -> None:
        """The act on change data; left out where others' files lie in its place."""
        if not self._take(CHANGE_LANDINGS):
            return

        def land(hours: range, rest: bool) -> ShopChanges:
            written = write_change_files(self._landing().parent, hours, rest=rest)
            self._console.print(
                f"  {count(written.files, 'file')}: {count(written.records, 'event')}"
            )
            return written

        now, past = self._queries[_CUSTOMERS], self._queries[_HISTORY]
        play_changes(self._stage, now, past, run=self._run, land=land)

    def _shop(self) -> str:
        """Files for the examples over a shop's events; nothing where others lie in their place."""
        if not self._take(LANDINGS):
            return ""
        write_shop_files(self._landing().parent, _HOURS)
        return f";\n{'':36}a shop's orders, payments and ads wait for theirs"

    def _take(self, names: Sequence[str]) -> bool:
        """Empty directories for files of ours; false where files of others lie in one."""
        if not self._free(names):
            return False
        for place in (self._landing().parent / name for name in names):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            (place / _MARKER).write_text(_OURS, "utf-8")
        return True

    def _free(self, names: Sequence[str]) -> bool:
        """Whether directories hold no files but ours."""
        places = [self._landing().parent / name for name in names]
        return not any(
            place.is_dir() and not (place / _MARKER).exists() and any(place.iterdir())
            for place in places
        )
