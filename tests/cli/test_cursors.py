from orchestration.runtime.contents import table_rows


def test_it_says_where_state_lives(project):
    project.land()
    project("run", "clicks")
    found = project.json("cursors")
    assert found["cursors"].endswith("/home/cursors.db")
    assert found["schema_version"]
    assert found["queries"]["clicks"]["batches"] == 1
    shown = project("cursors").stdout
    assert "schema version" in shown
    assert "headwater cursors rebuild" in shown


def test_a_lost_store_is_noticed_and_rebuilt(project):
    for _ in range(3):
        project.land()
    project("run", "clicks")
    for file in project.home.glob("cursors.db*"):
        file.unlink()
    project.land()
    lost = project("run", "clicks")
    assert lost.exit_code == 3
    assert "CursorStoreLost" in lost.stderr
    assert "rebuild" in lost.stderr
    done = project("cursors", "rebuild", "clicks")
    assert done.exit_code == 0, done.output
    assert "2 batches entered" in done.stdout
    assert project("run", "clicks").exit_code == 0
    ids = [row["id"] for row in table_rows(str(project.home / "tables" / "clicks"))]
    assert sorted(ids) == list(range(12))


def test_rebuilding_for_nothing_changes_nothing(project):
    project.land()
    project("run", "clicks")
    assert project("cursors", "rebuild").exit_code == 0
    assert not project.json("run", "clicks")["batches"]


def test_there_is_nothing_to_rebuild_of_a_query_that_never_ran(project):
    assert project("cursors", "rebuild").exit_code == 0
    assert project("cursors", "rebuild", "clicks").exit_code in {2, 3}
