"""The stream a user writes: where rows come from, and what is done to them one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestration.errors import DeclarationError
from orchestration.streams.body import Body
from orchestration.streams.expressions import check_condition
from orchestration.streams.facts import StreamFacts
from orchestration.streams.joining import JoinInput
from orchestration.streams.operators import Limit, MapBatches, OrderBy, Where
from orchestration.streams.parsing import parse_expression
from orchestration.streams.projection import project
from orchestration.streams.roots import SourceInput, UnionInput
from orchestration.streams.source import StreamSource
from orchestration.streams.steps import (
    DropDuplicatesStep,
    SelectStep,
    Step,
    as_schema,
)
from orchestration.streams.verbs import (
    GroupedStream,
    apply_with_state_step,
    check_function,
    count_of,
    group_keys,
    names_of,
    watermark_step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    import pyarrow as pa

    from orchestration.streams.windows import SessionWindow, Window

__all__ = ["Stream", "stream"]


def stream(source: StreamSource) -> Stream:
    """The unbounded table of a source's rows.

    Example::

        clicks = stream(files("landing/clicks/", format="json",
                              schema={"page": "VARCHAR", "amount": "DECIMAL(10,2)"}))
        paid = clicks.where("amount > 0").select("page", cents="amount * 100")

    Args:
        source: Where the rows come from, e.g. ``files(...)``.

    Raises:
        DeclarationError: It is not a source.
    """
    if not isinstance(source, StreamSource):
        raise DeclarationError(
            f"stream({source!r}): this is not a source",
            remedy='write e.g. stream(files("landing/clicks/", schema={...}))',
        )
    return Stream(Body.made(SourceInput(source, source.schema)))


class Stream(StreamFacts):
    """An unbounded table. Immutable: every verb gives a new one, checked as far as it goes.

    Made by :func:`stream`, and by :func:`~orchestration.streams.static.static` for a table that
    is read whole.
    """

    __slots__ = ()

    # -- verbs that look at one row ---------------------------------------------------------------

    def where(self, condition: str) -> Stream:
        """Keep the rows for which a condition is true; null counts as not true.

        After ``with_watermark``, a condition that does not use the event-time column is applied
        before event time is measured: what it leaves out moves no watermark.

        Example::

            clicks.where("amount >= 0 AND device.os <> 'bot'")

        Raises:
            ExpressionError: The condition is wrong; the message says what and where.
        """
        check_condition(condition, self._body.scope.columns)
        return self._then(Where(parse_expression(condition, "where").text))

    def select(self, *columns: str, **named: str) -> Stream:
        """Replace the columns.

        Example::

            clicks.select("page", "device.os", cents="CAST(amount * 100 AS BIGINT)")
            clicks.select("*", day="CAST(ts AS DATE)")         # all, and one more
            clicks.select("* EXCLUDE (device)", "device.*")    # a struct's fields as columns
            clicks.select("*", page="lower(page)")             # one of them replaced

        Event time stays event time under whatever name, as long as nothing is computed of it.

        Args:
            *columns: Columns, struct fields (``"device.os"`` is named ``os``), stars, or
                ``"expression AS name"``.
            **named: Name to expression. After a star, a name the star gave is replaced in place.

        Raises:
            ExpressionError: An expression is wrong or nameless, or a name is there twice.
        """
        project(columns, named, self._body.scope.columns)
        return self._then(SelectStep(columns, tuple(named.items())))

    def map_batches(
        self, function: Callable[[pa.Table], pa.Table], schema: Mapping[str, str] | pa.Schema
    ) -> Stream:
        """Replace the rows by what a Python function makes of them.

        Example::

            def add_country(rows: pa.Table) -> pa.Table:
                return rows.append_column("country", lookup(rows["ip"]))

            clicks.map_batches(add_country, schema={"ip": "VARCHAR", "country": "VARCHAR"})

        Args:
            function: Called with Arrow tables of bounded size. Where they are cut is not its
                choice, and a batch may be run again: the same rows in must give the same out.
            schema: The columns it returns.

        Raises:
            DeclarationError: It is not a function, or the schema is wrong.
        """
        check_function("map_batches", function)
        return self._then(MapBatches(function, as_schema(schema)))

    # -- event time and state ---------------------------------------------------------------------

    def with_watermark(
        self,
        column: str,
        delay: str | timedelta,
        *,
        idle_timeout: str | timedelta | None = None,
        max_future: str | timedelta | None = None,
    ) -> Stream:
        """Say which column is event time, and how late rows may be.

        Example::

            clicks.with_watermark("ts", "10 minutes")

        The watermark is the greatest time seen less the delay. What it has passed is closed:
        windows up to there are given and forgotten, and later rows for them go to the table of
        late rows.

        Args:
            column: A TIMESTAMPTZ.
            delay: How late rows may be, e.g. ``"10 minutes"``; ``"0 seconds"`` for in order.
            idle_timeout: In a query of several inputs: one that gave no row for so long stops
                holding the others back. Never by default.
            max_future: Rows further ahead of the batch's timestamp than this go to quarantine, so
                that one wrong clock cannot close everything. Not checked by default.

        Raises:
            DeclarationError: It is no such column, or event time is measured already.
        """
        return self._then(watermark_step(column, delay, idle_timeout, max_future))

    def group_by(self, *keys: str | Window | SessionWindow, **named: str) -> GroupedStream:
        """Group the rows, for :meth:`GroupedStream.agg`.

        Example::

            clicks.group_by(window("ts", "5 minutes"), "page").agg(views="count(*)")
            clicks.group_by(day="CAST(ts AS DATE)").agg(revenue="sum(amount)")

        Args:
            *keys: Columns, ``"expression AS name"``, ``window(...)`` or ``session_window(...)``,
                which gives the columns ``window_start`` and ``window_end``. None is one group.
            **named: Name to expression.

        Raises:
            DeclarationError: A key is wrong or nameless.
        """
        return GroupedStream(self._then, group_keys(keys, named, self._body.scope))

    def agg(self, **columns: str) -> Stream:
        """Aggregate all rows into one: ``group_by().agg(...)``.

        Example::

            clicks.agg(views="count(*)", revenue="sum(amount)")

        Raises:
            DeclarationError: An aggregate is wrong.
        """
        return self.group_by().agg(**columns)

    def drop_duplicates(self, *keys: str) -> Stream:
        """Keep the first row of each key, for ever, or as long as its event time is not passed.

        Keys leave the state only if the event-time column is among them.

        Args:
            *keys: Columns; none for all.

        Raises:
            DeclarationError: There is no such column.
        """
        return self._then(DropDuplicatesStep(names_of("drop_duplicates", keys)))

    def drop_duplicates_within_watermark(self, *keys: str) -> Stream:
        """Keep the first row of each key within the watermark's delay of that row.

        Args:
            *keys: Columns; none for all. The event time need not be the same.

        Raises:
            DeclarationError: There is no such column, or no watermark.
        """
        verb = "drop_duplicates_within_watermark"
        return self._then(DropDuplicatesStep(names_of(verb, keys), within=True))

    def apply_in_arrow_with_state(
        self,
        function: Callable[..., Any],
        keys: str | Sequence[str],
        state_schema: Mapping[str, str] | pa.Schema,
        output_schema: Mapping[str, str] | pa.Schema,
        timeout: str | None = None,
    ) -> Stream:
        """Call a function of yours for each key, with state that you keep for it.

        Args:
            function: ``(key: dict, rows: pa.Table, state) -> pa.Table``.
            keys: Columns that rows are grouped by.
            state_schema: What is kept of a key.
            output_schema: The columns the function returns.
            timeout: ``"event_time"`` lets the function ask to be called once the watermark has
                passed a moment.

        Raises:
            DeclarationError: An argument is wrong.
        """
        step = apply_with_state_step(function, keys, state_schema, output_schema, timeout)
        return self._then(step)

    # -- several streams --------------------------------------------------------------------------

    def join(
        self, other: Stream, on: str | Window | Sequence[str | Window], how: str = "inner"
    ) -> Stream:
        """Join with a static table, or with another stream.

        Example::

            clicks.join(static("tables/pages"), on="page", how="left")
            impressions.join(
                clicks.select(clicked_ad="ad", clicked="ts"),
                on="ad = clicked_ad AND clicked BETWEEN ts AND ts + INTERVAL 1 HOUR",
            )

        A static table is read anew in every batch. Of a stream both sides' rows are kept until
        the watermark has passed what could still match: say so with a range of time in ``on``.
        Null never matches.

        Args:
            other: A stream, or ``static(...)``.
            on: A column that both have, or several, perhaps with a ``window(...)`` over a time that
                both have; or one SQL condition, in which ``left."x"`` and ``right."x"`` tell
                columns of one name apart. Columns named by ``on`` are in the result once.
            how: ``inner``, ``left``, ``right``, ``full``, ``semi`` or ``anti``.

        Raises:
            DeclarationError: They cannot be joined so; the message says what would do.
        """
        if not isinstance(other, Stream):
            raise DeclarationError(
                f"join({other!r}, ...): this is not a stream",
                remedy='join a stream, or static("tables/pages")',
            )
        return Stream(Body.made(JoinInput.made(self._body, other.body, on, how)))

    def union(self, *others: Stream) -> Stream:
        """All rows of several streams with the same columns in the same order.

        Raises:
            DeclarationError: They have other columns, or one is a static table.
        """
        for other in others:
            if not isinstance(other, Stream):
                raise DeclarationError(
                    f"union({other!r}): this is not a stream", remedy="pass streams"
                )
        if not others:
            raise DeclarationError("union(): there is nothing to add", remedy="pass a stream")
        bodies = (self._body, *(other.body for other in others))
        return Stream(Body.made(UnionInput(bodies).checked()))

    def order_by(self, *terms: str) -> Stream:
        """Order a complete result.

        Example::

            views.order_by("views DESC", "page").limit(10)

        Args:
            *terms: SQL expressions, each perhaps with ``DESC`` and ``NULLS LAST``.

        Raises:
            ExpressionError: A term is wrong.
        """
        if not terms:
            raise DeclarationError(
                "order_by(): there is nothing to order by", remedy='write order_by("views DESC")'
            )
        return self._then(OrderBy(terms))

    def limit(self, count: int) -> Stream:
        """The first rows ever, and then none; of a complete result, its first rows.

        Raises:
            DeclarationError: It is not a positive number.
        """
        return self._then(Limit("", count_of("limit", count)))

    # -- other sources and schemas ----------------------------------------------------------------

    def bind(self, schema: pa.Schema | Mapping[str, pa.Schema]) -> Stream:
        """The same stream over columns that are known now, everything checked against them.

        Args:
            schema: What the source gives, where it was still to be inferred; or name of source or
                static table to that.

        Raises:
            ExpressionError: An expression names a column that there is not.
            SchemaError: The schema has names or types that no table can hold.
            DeclarationError: There is no source or table of that name.
        """
        schemas = schema if isinstance(schema, Mapping) else {self.source.name: schema}
        names = {source.name for source in self.sources} | {item.name for item in self.statics}
        for name, item in schemas.items():
            if name not in names and isinstance(schema, Mapping) and len(names) > 0:
                known = ", ".join(sorted(names))
                raise DeclarationError(
                    f'bind: there is no source or static table "{name}"', remedy=f"one of {known}"
                )
            as_schema(item)
        return Stream(self._body.bound(schemas))

    def with_source(self, source: StreamSource) -> Stream:
        """The same verbs over another source, such as a copy of this one's data.

        Raises:
            ExpressionError: A verb does not fit what the other source gives.
            DeclarationError: There are several sources.
        """
        return self.with_sources({self.source.name: source})

    def with_sources(self, sources: Mapping[str, StreamSource]) -> Stream:
        """The same verbs over other sources: name of the one that is replaced to the other.

        Raises:
            DeclarationError: There is no source of that name, or a verb does not fit.
        """
        names = {source.name for source in self.sources}
        unknown = [name for name in sources if name not in names]
        if unknown:
            raise DeclarationError(
                f'there is no source "{unknown[0]}"', remedy=f"one of {', '.join(sorted(names))}"
            )
        return Stream(self._body.moved(sources))

    def _then(self, step: Step) -> Stream:
        return Stream(self._body.then(step))
