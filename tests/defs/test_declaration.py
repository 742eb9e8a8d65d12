"""What a pipeline refuses when it is declared, and what it costs to declare one."""

import subprocess
import sys

import pytest

from orchestration import delta_sink, files, pipeline, stream
from orchestration.defs.collect import definitions_of
from orchestration.errors import DeclarationError

CLICKS = stream(files("landing", schema={"id": "BIGINT"}))


def declare(name="clicks", table="clicks", **options):
    return pipeline(name, CLICKS, sink=delta_sink(table), **options)


def test_declaring_and_running_imports_no_dagster(tmp_path):
    code = (
        "import sys\n"
        "from orchestration import delta_sink, files, pipeline, stream\n"
        "clicks = pipeline('clicks', stream(files('landing', schema={'id': 'BIGINT'})),\n"
        "                  sink=delta_sink('clicks'))\n"
        "heavy = {'duckdb', 'deltalake', 'boto3', 'obstore'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "clicks.query.run()\n"
        "assert 'dagster' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"HEADWATER_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"verify": "sometimes"}, "verify='sometimes'"),
        ({"max_duration": "0 seconds"}, "max_duration"),
        ({"sensor_interval": "soon"}, "soon"),
        ({"column_descriptions": {"idd": "x"}}, "idd"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(DeclarationError, match=said):
        declare(**options)


def test_two_pipelines_may_not_share_a_table():
    with pytest.raises(DeclarationError, match="'a' and 'b' both write"):
        definitions_of([declare("a", "same"), declare("b", "same")])
    with pytest.raises(DeclarationError, match="'a' and 'b' both write"):
        definitions_of([declare("a", "same"), declare("b", "same__quarantine")])


def test_two_pipelines_may_not_share_a_name():
    with pytest.raises(DeclarationError, match="two pipelines called 'a'"):
        definitions_of([declare("a", "one"), declare("a", "two")])


def test_a_pipeline_gives_everything_dagster_needs():
    found = declare(schedule="0 * * * *", sensor=True, key_prefix=["web"], verify="always")
    repository = definitions_of([found]).get_repository_def()
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert keys == {"web/clicks", "web/clicks__full", "landing"}
    assert {key.name for key in repository.asset_graph.asset_check_keys} == {
        "incremental_equals_full"
    }
    assert repository.has_sensor_def("clicks_sensor")
    assert repository.has_schedule_def("clicks_schedule")
    assert {"run_clicks", "reprocess_clicks"} <= set(repository.job_names)
