"""A pipeline over newline JSON in a directory of its own, and Dagster to run it."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
from deltalake import DeltaTable

from orchestration import delta_sink, files, pipeline, stream
from orchestration.config import Settings
from orchestration.defs.collect import definitions_of
from orchestration.defs.keys import CHECK, full_key, incremental_key

SCHEMA = {"id": "BIGINT", "page": "VARCHAR"}


class Lake:
    """One landing directory, one home, one Dagster instance, one pipeline."""

    def __init__(self, root: Path, instance: dg.DagsterInstance, **options):
        self.root = root
        self.landing = root / "landing"
        self.instance = instance
        places = {"tables": options.pop("tables")} if "tables" in options else {}
        self.settings = Settings.load(home=root / "home", threads=1, **places)
        source = options.pop("source", {})
        self.pipeline = pipeline(
            "clicks",
            stream(
                files(
                    str(self.landing),
                    **{"format": "json", "schema": SCHEMA, "max_files": 2, **source},
                )
            ),
            sink=delta_sink("clicks"),
            settings=self.settings,
            **options,
        )
        self.key = incremental_key(self.pipeline)
        self.full = full_key(self.pipeline)

    def land(self, name, *ids, bad=()):
        self.landing.mkdir(exist_ok=True)
        lines = [json.dumps({"id": number, "page": f"/{number}"}) for number in ids]
        (self.landing / name).write_text("".join(f"{line}\n" for line in [*lines, *bad]))

    def materialize(self, *keys, selection=None, fails=False):
        """Run assets in this process; by default the incremental one, with its check."""
        if selection is None:
            selection = dg.AssetSelection.assets(*(keys or (self.key,)))
        result = dg.materialize(
            self.pipeline.assets,
            selection=selection,
            instance=self.instance,
            raise_on_error=not fails,
        )
        assert result.success is not fails
        return result

    def check_alone(self):
        checks = dg.AssetSelection.checks(dg.AssetCheckKey(self.key, CHECK))
        return self.materialize(selection=checks)

    def ids(self, table="clicks"):
        rows = DeltaTable(self.settings.tables_uri(table)).to_pyarrow_table(columns=["id"])
        return sorted(rows.column("id").to_pylist())

    def metadata(self, result, key=None):
        key = key or self.key
        node = "clicks__full" if key == self.full else "clicks"
        events = result.asset_materializations_for_node(node)
        (event,) = [event for event in events if event.asset_key == key]
        return {name: value.value for name, value in event.metadata.items()}

    def definitions(self):
        return definitions_of([self.pipeline])


def evaluation(result):
    """The one check evaluation of a run."""
    (found,) = result.get_asset_check_evaluations()
    return found
