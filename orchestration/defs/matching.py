"""``matches_source(...)``: the check that holds a copy against its table in a live database."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from orchestration.errors import DeclarationError

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.defs.pipeline import Pipeline
    from orchestration.runtime.matching import SourceMatch
    from orchestration.sources.postgres.source import PostgresSource

__all__ = ["SourceCheck", "matches_source"]


class SourceCheck:
    """The declaration of a check; made by :func:`matches_source`.

    Attributes:
        pipeline: The copy.
        source: What its change log reads.
        table: ``schema.table`` there.
    """

    def __init__(self, pipeline: Pipeline, source: PostgresSource, table: str) -> None:
        self.pipeline = pipeline
        self.source = source
        self.table = table

    @property
    def name(self) -> str:
        """The copy's."""
        return self.pipeline.name

    def run(self) -> SourceMatch:
        """Compare now."""
        from orchestration.runtime.matching import match_source

        with self.pipeline.query.open() as session:
            return match_source(session, self.source, self.table)

    @cached_property
    def definition(self) -> dg.AssetChecksDefinition:
        """The asset check ``matches_source`` of the copy's asset."""
        from orchestration.defs.match_check import build_match_check

        return build_match_check(self)


def matches_source(pipeline: Pipeline, source: PostgresSource, table: str) -> SourceCheck:
    """Hold a copy against its table in the database, by count and hash of key ranges.

    Put the result into a module of ``assets/``: the asset gets the check ``matches_source``, and
    ``headwater match NAME`` runs it.

    Example::

        customers_match = matches_source(customers, shop, "public.customers")

    Args:
        pipeline: ``scd1_sink(...)`` over ``changes(...)``.
        source: The ``postgres(...)`` that its change log reads.
        table: ``schema.table``; ``public`` where there is no schema.

    Raises:
        DeclarationError: The source does not follow that table.
    """
    name = table if "." in table else f"public.{table}"
    if name not in source.tables:
        raise DeclarationError(
            f"matches_source({pipeline.name}): {name} is not among the tables that are followed: "
            f"{', '.join(source.tables)}",
            remedy="name the table that the copy is made of",
        )
    return SourceCheck(pipeline, source, name)
