import json

DECLARED = """
from orchestration import StreamingQuery, available_now, delta_sink, files, stream

raw = stream(files("{uri}/in", schema={{"id": "BIGINT", "v": "VARCHAR"}}))
clicks = StreamingQuery("clicks", raw, sink=delta_sink("{uri}/own/clicks"),
                        trigger=available_now(max_files=2))
"""


def land(s3, files=4):
    for number in range(files):
        lines = [json.dumps({"id": 10 * number + n, "v": "x"}) for n in range(5)]
        s3.put(f"in/{number}.json", "\n".join([*lines, "no JSON", ""]).encode())


def test_everything_works_on_a_bucket(project, s3, monkeypatch):
    monkeypatch.setenv("HEADWATER_STATE", f"{s3.uri}/state")
    project.declare(DECLARED.format(uri=s3.uri))
    land(s3)
    assert len(project.json("plan", "clicks")["batches"]) == 2
    done = project("run", "clicks")
    assert done.exit_code == 0, done.output
    assert "2 batches, 20 rows from 4 files" in done.stdout
    found = project.json("quarantine", "clicks")
    assert found["total"] == 4
    assert found["records"][0]["file"].startswith(s3.uri)
    assert project("verify", "clicks").exit_code == 0
    assert project("reset", "clicks", "--yes").exit_code == 0
    assert project.json("run", "clicks")["batches"][-1]["sink"]["num_output_rows"] == 10
    assert s3.server.secret_key not in project("status", "clicks").output


def test_a_proof_copies_the_bucket_and_leaves_it_alone(project, s3):
    project.declare(DECLARED.format(uri=s3.uri))
    land(s3)
    before = s3.keys()
    done = project("prove", "clicks", "--kills", "1", "--at", "after_sink_commit", "--json")
    assert done.exit_code == 0, done.output
    proof = json.loads(done.stdout)
    assert (proof["files"], proof["rows"], proof["quarantined"]) == (4, 20, 4)
    assert proof["batches"] > 1
    assert s3.keys() == before
