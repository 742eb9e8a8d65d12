"""Queries by event time in Dagster: runs that close windows, and what their pages say."""

import json

import dagster as dg
import pytest
from deltalake import DeltaTable

from orchestration import delta_sink, files, once, pipeline, static, stream, window
from orchestration.config import Settings
from orchestration.defs.collect import definitions_of
from orchestration.defs.keys import incremental_key
from orchestration.defs.tick import decide
from orchestration.errors import HeadwaterError, IncompatibleQuery
from tests.defs.lake import evaluation


class Shore:
    """Landing directories of several sources, and pipelines over them."""

    def __init__(self, root, instance):
        self.root = root
        self.instance = instance
        self.settings = Settings.load(home=root / "home", threads=1)

    def source(self, name="files", **columns):
        place = str(self.root / name)
        return stream(files(place, name=name, schema={"ts": "TIMESTAMPTZ", **columns}, max_files=1))

    def land(self, *minutes, source="files", name="a.json", **columns):
        place = self.root / source
        place.mkdir(exist_ok=True)
        rows = [{"ts": f"2026-03-02T14:{minute:02d}:00Z", **columns} for minute in minutes]
        (place / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def pipeline(self, name, rows, output_mode="append", **options):
        sink = delta_sink(name, output_mode=output_mode)
        return pipeline(name, rows, sink=sink, settings=self.settings, **options)

    def views(self, length="5 minutes", **options):
        rows = self.source(page="VARCHAR").with_watermark("ts", "10 minutes")
        return self.pipeline(
            "views", rows.group_by(window("ts", length), "page").agg(n="count(*)"), **options
        )

    def materialize(self, found, *, fails=False):
        result = dg.materialize(
            found.assets,
            selection=dg.AssetSelection.assets(incremental_key(found)),
            instance=self.instance,
            raise_on_error=not fails,
        )
        assert result.success is not fails
        return result

    def metadata(self, found, result):
        key = incremental_key(found)
        events = result.asset_materializations_for_node(found.name)
        (event,) = [event for event in events if event.asset_key == key]
        return {name: value.value for name, value in event.metadata.items()}

    def observed(self, result):
        return [
            {
                name: value.value
                for name, value in event.event_specific_data.asset_observation.metadata.items()
            }
            for event in result.all_events
            if event.event_type_value == "ASSET_OBSERVATION"
        ]

    def rows(self, table):
        return DeltaTable(self.settings.tables_uri(table)).to_pyarrow_table().to_pylist()


@pytest.fixture
def shore(tmp_path, instance):
    return Shore(tmp_path, instance)


def test_a_run_that_gave_nothing_says_which_window_waits_for_what(shore):
    views = shore.views()
    shore.land(0, 3, 12, page="/")
    result = shore.materialize(views)
    metadata = shore.metadata(views, result)
    sentence = "window 14:00 closes at event time 14:15; the watermark is 14:02"
    assert metadata["waiting_for"].replace("\n\n", " ") == sentence
    assert metadata["summary"].endswith(f"0 rows: {sentence}")
    assert metadata["groups_emitted"] == 0
    assert metadata["state_rows"] == 2
    assert evaluation(result).passed
    again = shore.metadata(views, shore.materialize(views))
    assert again["summary"].endswith(sentence)


def test_numbers_of_event_time_are_there_to_be_plotted(shore):
    views = shore.views()
    shore.land(0, 3, 16, page="/")
    result = shore.materialize(views)
    first, second = shore.observed(result)
    assert "watermark_seconds" not in first  # there was none yet
    assert first["groups_emitted"] == 0
    assert second["no_new_data"] is True
    assert second["groups_emitted"] == 1
    assert second["watermark_seconds"] == second["watermark"]
    assert second["watermark_lag_seconds"] > 0
    assert (second["state_rows"], second["state_rows_removed"], second["late_rows"]) == (1, 1, 0)
    assert second["state_bytes"] > 0
    metadata = shore.metadata(views, result)
    for name in ("watermark", "watermark_seconds", "watermark_lag_seconds", "state_bytes"):
        assert metadata[name] > 0, name
    assert metadata["late_rows"] == metadata["late_rows_total"] == 0
    assert "late_table" not in metadata


def test_late_rows_are_counted_and_their_table_is_named(shore):
    views = shore.views()
    for number, minutes in enumerate(((0,), (30,))):
        shore.land(*minutes, name=f"{number}.json", page="/")
    shore.materialize(views)
    shore.land(1, 2, name="late.json", page="/")
    result = shore.materialize(views)
    metadata = shore.metadata(views, result)
    assert metadata["late_rows"] == metadata["late_rows_total"] == 2
    assert "2 too late" in metadata["summary"]
    assert metadata["late_table"] == shore.settings.tables_uri("views__late")
    assert len(shore.rows("views__late")) == 2
    assert evaluation(result).passed


def test_a_batch_that_is_due_without_data_is_asked_for(shore):
    views = shore.views()
    shore.land(0, 16, page="/")
    views.query.run(once())  # runs no batch without data
    request = decide(views, shore.instance)
    assert isinstance(request, dg.RunRequest)
    assert request.tags["headwater/new_files"] == "0"
    metadata = shore.metadata(views, shore.materialize(views))
    assert (metadata["batches"], metadata["groups_emitted"]) == (1, 1)
    assert isinstance(decide(views, shore.instance), dg.SkipReason)


def test_the_sensor_asks_for_a_run_that_closes_the_windows(shore):
    views = shore.views()
    shore.land(0, 16, page="/")
    with dg.build_sensor_context(
        instance=shore.instance, definitions=definitions_of([views])
    ) as context:
        request = views.sensors[0](context)
    job = definitions_of([views]).resolve_job_def("run_views")
    assert job.execute_in_process(instance=shore.instance, tags=request.tags).success
    (row,) = shore.rows("views")
    assert (row["page"], row["n"]) == ("/", 1)


def test_update_and_complete_replace_what_changed(shore):
    rows = shore.source(page="VARCHAR")
    totals = shore.pipeline("totals", rows.group_by("page").agg(n="count(*)"), "update")
    top = rows.group_by("page").agg(n="count(*)").order_by("n DESC").limit(1)
    top = shore.pipeline("top", top, "complete")
    for number, page in enumerate(("/a", "/b", "/b")):
        shore.land(number, name=f"{number}.json", page=page)
        for found in (totals, top):
            result = shore.materialize(found)
            assert evaluation(result).passed
            assert "waiting_for" not in shore.metadata(found, result)
    assert sorted((r["page"], r["n"]) for r in shore.rows("totals")) == [("/a", 1), ("/b", 2)]
    assert [(r["page"], r["n"]) for r in shore.rows("top")] == [("/b", 2)]


@pytest.mark.parametrize(
    ("mode", "said"), [("update", "replaces the groups"), ("append", "exactly once, when")]
)
def test_the_output_mode_is_on_the_page(shore, mode, said):
    rows = shore.source(page="VARCHAR").with_watermark("ts", "10 minutes")
    found = shore.pipeline("found", rows.group_by(window("ts", "1 hour")).agg(n="count(*)"), mode)
    (spec,) = found.assets[0].specs
    assert spec.tags["headwater/output_mode"] == mode
    assert spec.metadata["output_mode"] == mode
    assert spec.metadata["late_rows_go_to"].value == shore.settings.tables_uri("found__late")
    assert f"-> found ({mode})" in spec.description
    assert said in spec.description
    assert "watermark ts, at most 10 minutes late" in spec.description
    assert "group by window(ts, 1 hour)" in spec.description


def test_two_sources_are_two_upstream_assets_and_counted_apart(shore):
    shown = shore.source("shown", ad="VARCHAR").with_watermark("ts", "1 minute")
    clicked = shore.source("clicked", ad2="VARCHAR").select("ad2", at="ts")
    pairs = shown.join(
        clicked.with_watermark("at", "1 minute"),
        on="ad = ad2 AND at BETWEEN ts AND ts + INTERVAL 5 MINUTES",
    )
    found = shore.pipeline("pairs", pairs)
    keys = {
        key.path[-1]
        for key in (
            dep.asset_key for dep in found.assets[0].specs_by_key[incremental_key(found)].deps
        )
    }
    assert keys == {"shown", "clicked"}
    assert {spec.key.path[-1] for spec in found.source_assets} == keys
    shore.land(0, 1, source="shown", ad="x")
    shore.land(2, source="clicked", ad2="x")
    result = shore.materialize(found)
    metadata = shore.metadata(found, result)
    assert (metadata["rows_from_shown"], metadata["rows_from_clicked"]) == (2, 1)
    assert shore.observed(result)[0]["batch_rows_from_shown"] == 2
    assert metadata["watermark_held_by"] in {"shown", "clicked"}
    assert set(metadata["offsets"]) == {"shown", "clicked"}
    assert len(shore.rows("pairs")) == 2
    assert evaluation(result).passed
    shore.land(3, source="clicked", name="b.json", ad2="x")
    request = decide(found, shore.instance)
    assert request.tags["headwater/clicked.files.to"] == "2"
    assert request.tags["headwater/shown.files.to"] == "1"


def test_a_static_table_that_another_pipeline_writes_is_upstream(shore):
    pages = shore.pipeline("pages", shore.source("pages", page="VARCHAR", owner="VARCHAR"))
    place = shore.settings.tables_uri("pages")
    known = {"page": "VARCHAR", "owner": "VARCHAR"}
    clicks = shore.source(page="VARCHAR").join(static(place, schema=known), on="page", how="left")
    found = shore.pipeline("owned", clicks)
    graph = definitions_of([pages, found]).resolve_asset_graph()
    above = graph.get(incremental_key(found)).parent_keys
    assert incremental_key(pages) in above
    elsewhere = shore.pipeline(
        "elsewhere",
        shore.source(page="VARCHAR").join(
            static(str(shore.root / "other"), format="csv", schema=known), on="page"
        ),
    )
    (spec,) = [item for item in elsewhere.source_assets if item.key.path[-1] == "other"]
    assert "csv" in spec.kinds


def test_a_change_that_the_state_cannot_follow_fails_in_the_same_words(shore):
    shore.land(0, page="/")
    shore.materialize(shore.views())
    changed = shore.views("10 minutes")
    with pytest.raises(IncompatibleQuery) as refused:
        changed.query.run()
    result = shore.materialize(changed, fails=True)
    failure = result.failure_data_for_node("views").user_failure_data
    assert failure.description == str(refused.value)
    assert failure.metadata["error"].value == "IncompatibleQuery"
    assert "reset" in failure.metadata["what to do"].value


def test_two_pipelines_may_not_share_a_late_table(shore):
    one = shore.views()
    two = shore.pipeline("views__later", shore.source(page="VARCHAR"))
    definitions_of([one, two])
    other = pipeline(
        "other",
        shore.source(page="VARCHAR"),
        sink=delta_sink("views__late"),
        settings=shore.settings,
    )
    with pytest.raises(HeadwaterError, match="both write"):
        definitions_of([one, other])
