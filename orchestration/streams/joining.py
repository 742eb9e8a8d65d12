"""A join as it was written, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from orchestration.errors import DeclarationError
from orchestration.streams.expressions import uses_batch_timestamp
from orchestration.streams.join_conditions import read_condition
from orchestration.streams.join_filters import SideFilter, filters_of
from orchestration.streams.join_state import SideState, sides_of
from orchestration.streams.join_using import Using, check_on, read_using
from orchestration.streams.joined_columns import condition_columns, output_scope, using_columns
from orchestration.streams.operators import Where
from orchestration.streams.plan import Chain, JoinRoot, JoinSide
from orchestration.streams.roots import Input, StaticInput, check_inputs, indented, not_known
from orchestration.streams.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from orchestration.streams.body import Body
    from orchestration.streams.join_conditions import Condition
    from orchestration.streams.plan import JoinHow
    from orchestration.streams.source import StreamSource
    from orchestration.streams.windows import Window

__all__ = ["JoinInput"]

_HOW: dict[str, JoinHow] = {
    "inner": "inner",
    "left": "left",
    "leftouter": "left",
    "right": "right",
    "rightouter": "right",
    "full": "full",
    "fullouter": "full",
    "outer": "full",
    "semi": "semi",
    "leftsemi": "semi",
    "anti": "anti",
    "leftanti": "anti",
}


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A join over columns that are known."""

    condition: Condition
    columns: tuple[tuple[str, str], ...]
    left: SideState
    right: SideState
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class JoinInput(Input):
    """Two inputs joined.

    Attributes:
        left, right: The sides as they were written.
        on: A condition, or keys of one name.
        how: What becomes of rows without a match.
        resolved: What it comes to; ``None`` as long as columns are not known.
    """

    left: Body
    right: Body
    on: str | tuple[str | Window, ...]
    how: JoinHow
    resolved: _Resolved | None

    @classmethod
    def made(
        cls, left: Body, right: Body, on: str | Window | Sequence[str | Window], how: str
    ) -> JoinInput:
        """A join, checked as far as it goes.

        Raises:
            DeclarationError: It cannot be done so.
        """
        kind = _how(how)
        given = check_on(on)
        check_inputs("join", (left, right))
        _check_sides(left, right, kind)
        resolved = None
        if left.columns is not None and right.columns is not None:
            resolved = _resolve(left, right, given, kind)
        return cls(left, right, given, kind, resolved)

    @property
    def bodies(self) -> tuple[Body, ...]:
        """The streams it is made of."""
        return (self.left, self.right)

    @property
    def scope(self) -> Scope:
        """What is known of its rows."""
        if self.resolved is not None:
            return self.resolved.scope
        left, right = self.left.scope, self.right.scope
        times = left.times if self.right.is_static else right.times
        return _base(left, right).then(times=times if left.static != right.static else ())

    def bound(self, schemas: Mapping[str, pa.Schema]) -> JoinInput:
        """The same over columns that are known now."""
        return JoinInput.made(
            self.left.bound(schemas), self.right.bound(schemas), self.on, self.how
        )

    def moved(self, sources: Mapping[str, StreamSource]) -> JoinInput:
        """The same over other sources."""
        return JoinInput.made(
            self.left.moved(sources), self.right.moved(sources), self.on, self.how
        )

    def root(self) -> JoinRoot:
        """What the plan starts with."""
        found = self.resolved
        if found is None:
            raise not_known(self)
        condition = found.condition
        filters = filters_of(condition, self.how)
        left = _side(self.left, condition.left, found.left, filters[0])
        right = _side(self.right, condition.right, found.right, filters[1])
        lag = max(found.left.lag_us, found.right.lag_us)
        made = JoinRoot("", left, right, self.how, condition.residual, found.columns, lag)
        # The static side stands on the right, so that an engine knows one place for it.
        return _swapped(made) if self.left.is_static and not self.right.is_static else made

    def shown(self) -> str:
        """As it is written in Python."""
        on = self.on if isinstance(self.on, str) else list(self.on)
        right = indented(self.right.shown())
        return f"{self.left.shown()}\n  .join({right}, on={on!r}, how={self.how!r})"

    def described(self) -> list[dict[str, Any]]:
        """Its steps as JSON."""
        on: Any = self.on
        if not isinstance(on, str):
            on = [key if isinstance(key, str) else repr(key) for key in on]
        join = {"join": self.right.described_part(), "on": on, "how": self.how}
        return [*self.left.described(), join]

    def volatile(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """What depends on when a batch ran."""
        columns, filters = super(JoinInput, self).volatile()
        if isinstance(self.on, str) and uses_batch_timestamp(self.on):
            filters = (*filters, self.on)
        return columns, filters


def _side(body: Body, keys: tuple[str, ...], state: SideState, conditions: SideFilter) -> JoinSide:
    chain = body.chain()
    where = tuple(Where(text) for text in conditions.where)
    return JoinSide(
        Chain(chain.root, (*chain.operators, *where)),
        keys,
        state.event_column,
        state.late,
        state.expiry,
        conditions.matches,
    )


def _how(how: object) -> JoinHow:
    key = how.lower().replace("_", "").replace(" ", "") if isinstance(how, str) else ""
    if key not in _HOW:
        raise DeclarationError(
            f"join(how={how!r}): there is no such join",
            remedy="one of inner, left, right, full, semi, anti",
        )
    return _HOW[key]


def _check_sides(left: Body, right: Body, how: JoinHow) -> None:
    for item in (left, right):
        if "apply" in item.scope.stateful and left.is_static == right.is_static:
            raise DeclarationError(
                "join: a side comes from apply_in_arrow_with_state, whose rows have no event time",
                remedy="join before it, or in a query on the output table",
            )
    if left.is_static and right.is_static:
        return
    if not left.is_static and not right.is_static:
        if how == "anti":
            raise DeclarationError(
                "join(how='anti'): of two streams, a row without a match so far may get one later",
                remedy='write how="left" with a range of time, and keep the rows whose right '
                'side is missing: .where("right_key IS NULL")',
            )
        return
    static = left if left.is_static else right
    if not isinstance(static.start, StaticInput) or static.scope.stateful:
        raise DeclarationError(
            "join: the static side is more than a table with where and select",
            remedy="write what it comes to to a table first, and join that",
        )
    possible = (
        {"inner": "", "right": ""}
        if left.is_static
        else dict.fromkeys(("inner", "left", "semi", "anti"))
    )
    if how not in possible:
        side, keep = ("left", "right") if left.is_static else ("right", "left")
        raise DeclarationError(
            f"join(how={how!r}): the {side} side is a static table, and whether one of its rows "
            "has no match is known only when the stream has ended",
            remedy=f"use one of {', '.join(possible)}; how={keep!r} keeps the stream's rows",
        )


def _resolve(
    left: Body, right: Body, on: str | tuple[str | Window, ...], how: JoinHow
) -> _Resolved:
    one, two = left.scope, right.scope
    assert one.columns is not None and two.columns is not None  # noqa: S101, PT018 - as called
    using: Using | None = None
    if isinstance(on, str):
        condition = read_condition(on, one.columns, two.columns)
    else:
        using = read_using(on, one, two)
        condition = using.condition
    streams = not left.is_static and not right.is_static
    if streams and not condition.left:
        raise DeclarationError(
            f"join(on={on!r}): no column of one stream has to equal one of the other, so every row "
            "would be held against every other",
            remedy='add one: on="k = k2 AND rt BETWEEN lt AND lt + INTERVAL 5 SECONDS"',
        )
    states = sides_of(condition, one, two, how) if streams else (SideState(), SideState())
    columns = (
        condition_columns(one.columns, two.columns, how)
        if using is None
        else using_columns(using, one.columns, two.columns, how)
    )
    base = _base(one, two)
    if streams:
        base = base.then(stateful=(*base.stateful, "join"))
    scope = output_scope(base, columns, (one, two), states, using, how)
    return _Resolved(condition, columns, states[0], states[1], scope)


def _base(left: Scope, right: Scope) -> Scope:
    return Scope(
        None,
        stateful=(*left.stateful, *right.stateful),
        measured=left.measured or right.measured,
        static=left.static and right.static,
    )


def _swapped(root: JoinRoot) -> JoinRoot:
    from orchestration.streams.rewriting import rewrite

    def other(text: str) -> str:
        def replace(reference: Any) -> tuple[int, str] | None:
            side = {"l": "r", "r": "l"}.get(reference.parts[0])
            return None if side is None else (1, side)

        return rewrite(text, replace)

    how = {"right": "left"}.get(root.how, root.how)
    return JoinRoot(
        root.id,
        root.right,
        root.left,
        cast("JoinHow", how),
        None if root.condition is None else other(root.condition),
        tuple((name, other(text)) for name, text in root.columns),
        root.output_lag_us,
    )
