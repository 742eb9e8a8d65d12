"""``matches_source(...)``: the check that holds a copy against its table in a live database."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestration.errors import DeclarationError

if TYPE_CHECKING:
    import dagster as dg

    from orchestration.defs.pipeline import Pipeline
    from orchestration.runtime.matching import SourceMatch
    from orchestration.sources.postgres.source import PostgresSource

__all__ = ["CHECK", "SourceCheck", "matches_source"]

CHECK = "matches_source"


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
        import dagster as dg

        from orchestration.defs.failures import as_failure
        from orchestration.defs.keys import incremental_key
        from orchestration.errors import HeadwaterError

        @dg.asset_check(
            name=CHECK,
            asset=incremental_key(self.pipeline),
            description=f"The copy holds what {self.table} holds in the database, at one moment; "
            "changes that are still on their way are left out.",
            pool=f"headwater_match_{self.pipeline.name}",
        )
        def check() -> dg.AssetCheckResult:
            try:
                found = self.run()
            except HeadwaterError as error:
                raise as_failure(self.pipeline.name, error) from None
            return dg.AssetCheckResult(
                passed=found.passed,
                severity=dg.AssetCheckSeverity.WARN
                if found.outcome == "not_comparable"
                else dg.AssetCheckSeverity.ERROR,
                description=found.reason,
                metadata=_metadata(found),
            )

        return check


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


def _metadata(found: SourceMatch) -> dict[str, Any]:
    import dagster as dg

    value: dict[str, Any] = {
        "outcome": found.outcome,
        "place_in_log": found.place,
        "source_rows": found.source_rows,
        "copy_rows": found.copy_rows,
        "keys_on_their_way": found.moving_keys,
        "only_in_source": found.only_source,
        "only_in_copy": found.only_copy,
        "different": found.different,
        "key_ranges": found.ranges,
    }
    if found.version is not None:
        value["delta_version"] = found.version
    if found.differing:
        lines = [
            f"| {item.first} | {item.last} | {item.source_rows:,} | {item.copy_rows:,} |"
            for item in found.differing
        ]
        head = ["| from | to | rows at the source | rows in the copy |", "| - | - | -: | -: |"]
        value["ranges_that_differ"] = dg.MetadataValue.md("\n".join(head + lines))
    if found.samples is not None and found.samples.num_rows:
        rows = [
            {name: None if item is None else str(item) for name, item in row.items()}
            for row in found.samples.to_pylist()
        ]
        value["rows_that_differ"] = dg.MetadataValue.table(
            [dg.TableRecord(row) for row in rows],
            dg.TableSchema(columns=[dg.TableColumn(name) for name in found.samples.column_names]),
        )
    return value
