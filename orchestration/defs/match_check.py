"""The asset check ``matches_source``."""

# No postponed annotations: Dagster reads those of the check as objects.

from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.defs.failures import as_failure
from orchestration.defs.keys import incremental_key
from orchestration.errors import HeadwaterError

if TYPE_CHECKING:
    from orchestration.defs.matching import SourceCheck
    from orchestration.runtime.matching import SourceMatch

__all__ = ["CHECK", "build_match_check"]

CHECK = "matches_source"


def build_match_check(declared: "SourceCheck") -> dg.AssetChecksDefinition:
    """The check of the copy's asset."""
    name = declared.name

    @dg.asset_check(
        name=CHECK,
        asset=incremental_key(declared.pipeline),
        description=f"The copy holds what {declared.table} holds in the database, at one moment; "
        "changes that are still on their way are left out.",
        pool=f"headwater_match_{name}",
    )
    def check() -> dg.AssetCheckResult:
        try:
            found = declared.run()
        except HeadwaterError as error:
            raise as_failure(name, error) from None
        unknown = found.outcome == "not_comparable"
        return dg.AssetCheckResult(
            passed=found.passed,
            severity=dg.AssetCheckSeverity.WARN if unknown else dg.AssetCheckSeverity.ERROR,
            description=found.reason,
            metadata=_metadata(found),
        )

    return check


def _metadata(found: "SourceMatch") -> dict[str, Any]:
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
