import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestration.clock import ManualClock
from orchestration.cursors import migrate, models
from orchestration.cursors.store import CursorStore
from orchestration.errors import (
    ConfigError,
    CursorStoreError,
    CursorStoreUnavailable,
    CursorStoreVersion,
)
from tests.cursors.support import ROOT, connect, start_process
from tests.support.postgres import postgres_database

CANARY = "c4n4ry-p4ssw0rd"


def open_store(url):
    return CursorStore.open(url, clock=ManualClock())


def everything_shown(error):
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.remedy)


def test_a_new_store_is_made_with_its_directory_and_keeps_its_id(cursor_url):
    with open_store(cursor_url) as first:
        store_id = first.store_id
        assert len(store_id) == 32
        assert first.schema_version == migrate.HEAD
    with open_store(cursor_url) as second:
        assert second.store_id == store_id


def test_two_stores_have_different_ids(tmp_path):
    with (
        open_store(f"sqlite:///{tmp_path}/a.db") as a,
        open_store(f"sqlite:///{tmp_path}/b.db") as b,
    ):
        assert a.store_id != b.store_id


def test_sqlite_commits_survive_a_power_cut_and_readers_do_not_block(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/c.db") as store, store._database.read() as connection:

        def pragma(name):
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert (pragma("journal_mode"), pragma("synchronous")) == ("wal", 2)
        assert pragma("busy_timeout") == 30_000
        # A write beside an open read.
        store.queries.register("clicks", {})
        assert store.queries.get("clicks") is not None


def test_a_path_with_odd_characters_works(tmp_path):
    directory = tmp_path / "a b%20c#d é"
    url = sa.URL.create("sqlite", database=str(directory / "cursors.db"))
    with open_store(url.render_as_string(hide_password=False)):
        assert (directory / "cursors.db").exists()


OPEN = """
import sys
from orchestration.clock import SystemClock
from orchestration.cursors.store import CursorStore
print("ready", flush=True)
sys.stdin.readline()
with CursorStore.open(sys.argv[1], clock=SystemClock()) as store:
    print(store.store_id, flush=True)
"""


def test_processes_that_open_a_new_store_at_once_get_the_same_one(cursor_url):
    processes = [start_process(OPEN, cursor_url) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(answers)) == 1
    with open_store(cursor_url) as store:
        assert {store.store_id} == set(answers)


def test_a_newer_schema_is_refused_and_left_alone(cursor_url):
    open_store(cursor_url).close()
    engine = connect(cursor_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {models.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(CursorStoreVersion, match="'9999'.*up to '0001'"):
        open_store(cursor_url)
    with engine.begin() as connection:
        found = connection.execute(sa.text(f"SELECT version_num FROM {models.VERSION_TABLE}"))
        assert found.scalar_one() == "9999"


def test_migrations_make_exactly_the_declared_tables(cursor_url):
    open_store(cursor_url).close()
    engine = connect(cursor_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": models.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, models.metadata) == []


def test_the_revisions_named_are_those_there_are():
    scripts = ScriptDirectory(str(migrate.MIGRATIONS)).walk_revisions()
    assert tuple(script.revision for script in scripts)[::-1] == migrate.REVISIONS


def test_a_store_beside_dagsters_tables_leaves_their_version_alone(postgres_url):
    with postgres_database(postgres_url) as url:
        engine = connect(url)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE alembic_version (version_num text)"))
            connection.execute(sa.text("INSERT INTO alembic_version VALUES ('7e2f3204cf8e')"))
        open_store(url).close()
        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
            assert found.scalar_one() == "7e2f3204cf8e"


def test_a_wrong_password_is_unavailable_and_never_shown(postgres_url):
    url = sa.make_url(postgres_url).set(password=CANARY).render_as_string(hide_password=False)
    with pytest.raises(CursorStoreUnavailable, match="password authentication failed") as caught:
        open_store(url)
    assert CANARY not in everything_shown(caught.value)
    assert "headwater:***@" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://headwater:{CANARY}@127.0.0.1:1/none",
        f"postgresql://headwater@127.0.0.1:1/none?password={CANARY}",
        f"postgresql+psycopg://headwater:{CANARY}%40%2F@127.0.0.1:1/none",
    ],
)
def test_a_server_that_is_not_there_is_unavailable_and_the_password_never_shown(url):
    with pytest.raises(CursorStoreUnavailable, match="does not answer") as caught:
        open_store(url)
    assert CANARY not in everything_shown(caught.value)


@pytest.mark.parametrize(
    "url", ["nonsense", f"mysql://u:{CANARY}@h/d", "sqlite://", "sqlite:///:memory:", ""]
)
def test_urls_that_cannot_be_a_store_are_refused(url):
    with pytest.raises(ConfigError) as caught:
        open_store(url)
    assert CANARY not in everything_shown(caught.value)
    assert "sqlite:////" in caught.value.remedy


def test_an_open_store_never_shows_its_password(postgres_url):
    password = sa.make_url(postgres_url).password
    with open_store(postgres_url) as store:
        shown = repr(store) + repr(store._database) + store.url_redacted
        assert password not in shown
        with pytest.raises(CursorStoreError) as caught, store._database.read() as connection:
            connection.execute(sa.text("SELECT * FROM nothing"))
    assert password not in everything_shown(caught.value)


def test_without_the_driver_the_extra_is_named():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"  # what a missing package looks like
        "from orchestration.clock import ManualClock\n"
        "from orchestration.cursors.store import CursorStore\n"
        f"CursorStore.open('postgresql://u:{CANARY}@127.0.0.1/d', clock=ManualClock())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-2:]
    assert "ConfigError" in last[0]
    assert "headwater[postgres]" in last[1]
    assert CANARY not in done.stderr


def test_a_file_that_is_no_database_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "cursors.db"
    path.write_bytes(b"this is no database, and long enough to look like one " * 100)
    with pytest.raises(CursorStoreError, match=r"cursors\.db.*not a database") as caught:
        open_store(f"sqlite:///{path}")
    assert "rebuild" in caught.value.remedy


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CursorStoreUnavailable, match="cannot be made"):
        open_store(f"sqlite:///{tmp_path}/file/cursors.db")


def test_a_restored_copy_that_lost_its_journal_mode_gets_it_back(tmp_path):
    open_store(f"sqlite:///{tmp_path}/a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute(f"VACUUM INTO '{tmp_path}/b.db'")
    connection.close()
    with open_store(f"sqlite:///{tmp_path}/b.db") as store, store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_closed_sqlite_store_is_a_single_file(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/c.db") as store:
        store.queries.register("clicks", {})
    assert [path.name for path in Path(tmp_path).iterdir()] == ["c.db"]
