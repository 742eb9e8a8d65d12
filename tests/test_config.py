"""Settings are found in the same place from wherever a command is started."""

import os
from pathlib import Path

import pytest

from orchestration.config import Settings, parse_bytes
from orchestration.errors import ConfigError


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with nothing set, and we stand two directories below its root."""
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)
    root = tmp_path / "pro ject"
    below = root / "assets" / "deep"
    below.mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    monkeypatch.chdir(below)
    return root


def test_everything_is_beside_pyproject_by_default(project):
    settings = Settings.load()
    home = project / ".headwater"
    assert settings.root == project
    assert settings.home == home
    assert settings.tables_uri("clicks") == f"{home}/tables/clicks"
    assert settings.state_uri("clicks") == f"{home}/state/clicks"
    assert settings.cursors_url == f"sqlite:///{home}/cursors.db"
    assert settings.spill_dir.is_relative_to(home)
    assert settings.spool_dir.is_relative_to(home)
    assert not home.exists()


def test_defaults_are_bounded():
    settings = Settings.load()
    assert settings.memory_limit.endswith("KiB")
    assert 64 * 1024**2 <= parse_bytes(settings.memory_limit) <= 4 * 1024**3
    assert settings.threads >= 1
    assert settings.spool_bytes == 1024**3
    assert settings.max_failures == 3


def test_without_a_project_the_home_must_be_set(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    # As if the package were installed: no pyproject.toml above it.
    monkeypatch.setattr("orchestration.config.__file__", str(tmp_path / "lib/pkg/config.py"))
    with pytest.raises(ConfigError, match=r"no pyproject\.toml") as caught:
        Settings.load()
    assert "HEADWATER_HOME" in caught.value.remedy
    settings = Settings.load(home=tmp_path / "home")
    assert settings.root is None
    with pytest.raises(ConfigError, match="'landing/' is relative"):
        settings.resolve_input("landing/")
    assert settings.resolve_input("/landing/") == "/landing"


def test_a_clone_finds_itself_from_outside(tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    (clone / "orchestration").mkdir(parents=True)
    (clone / "pyproject.toml").write_text("")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("orchestration.config.__file__", str(clone / "orchestration/config.py"))
    assert Settings.load().home == clone / ".headwater"


def test_places_may_be_directories_or_s3(project, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADWATER_HOME", "data")
    monkeypatch.setenv("HEADWATER_TABLES", "s3://bucket/tables/")
    monkeypatch.setenv("HEADWATER_STATE", f"file://{tmp_path}/state")
    monkeypatch.setenv("HEADWATER_SCRATCH", "~/scratch")
    settings = Settings.load()
    assert settings.home == project / "data"
    assert settings.tables_uri("x") == "s3://bucket/tables/x"
    assert settings.state_uri("x") == f"{tmp_path}/state/x"
    assert settings.spool_dir == Path.home() / "scratch" / "spool"


def test_inputs_are_relative_to_the_project(project):
    settings = Settings.load()
    assert settings.resolve_input("landing/clicks/") == f"{project}/landing/clicks"
    assert settings.resolve_input("../shared") == str(project.parent / "shared")
    assert settings.resolve_input("s3://bucket/a b%20/") == "s3://bucket/a b%20"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://me@db/x", "postgresql+psycopg://me@db/x"),
        ("postgres://me@db/x", "postgresql+psycopg://me@db/x"),
        ("postgresql+psycopg://me@db/x", "postgresql+psycopg://me@db/x"),
        ("sqlite:////abs/x.db", "sqlite:////abs/x.db"),
    ],
)
def test_cursor_urls(monkeypatch, given, expected):
    monkeypatch.setenv("HEADWATER_CURSORS", given)
    assert Settings.load().cursors_url == expected


def test_a_relative_sqlite_file_lies_in_the_home(project, monkeypatch):
    monkeypatch.setenv("HEADWATER_CURSORS", "sqlite:///mine.db")
    assert Settings.load().cursors_url == f"sqlite:///{project}/.headwater/mine.db"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HEADWATER_THREADS", "many", "'many'"),
        ("HEADWATER_THREADS", "0", "greater than or equal to 1"),
        ("HEADWATER_MEMORY_LIMIT", "3 apples", "512MB"),
        ("HEADWATER_MEMORY_LIMIT", "1MB", "too little"),
        ("HEADWATER_SPOOL_BYTES", "-1", "'-1'"),
        ("HEADWATER_MAX_FAILURES", "0", "greater"),
        ("HEADWATER_TABLES", "gs://bucket/x", "gs://bucket/x"),
        ("HEADWATER_STATE", "s3://", "no bucket"),
        ("HEADWATER_HOME", "s3://bucket/x", "not a local directory"),
        ("HEADWATER_ROOT", "/no/such/dir", "/no/such/dir"),
        ("HEADWATER_CURSORS", "cursors.db", "not an SQLAlchemy URL"),
        ("HEADWATER_CURSORS", "sqlite://", "in memory"),
        ("HEADWATER_CURSORS", "sqlite:///:memory:", "in memory"),
    ],
)
def test_a_bad_value_is_named_with_its_variable(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert variable in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_an_empty_variable_is_unset(monkeypatch):
    monkeypatch.setenv("HEADWATER_THREADS", "")
    assert Settings.load().threads >= 1


def test_an_unknown_override_is_refused():
    with pytest.raises(ConfigError, match="'hoem' is not a setting"):
        Settings.load(hoem="x")


def test_nothing_shows_the_cursor_stores_password(monkeypatch):
    monkeypatch.setenv("HEADWATER_CURSORS", "postgresql://me:canary-pass@db/x")
    settings = Settings.load()
    assert "canary" in settings.cursors_url
    for shown in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
    ):
        assert "canary" not in shown
    monkeypatch.setenv("HEADWATER_TABLES", "gs://me:canary-pass@x/y")
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1kb", 1000), ("1 KiB", 1024), ("1.5GiB", 1610612736), ("2T", 2 * 10**12), (7, 7)],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "1 XB", "-1", "0", "1e3", True, None])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_bytes(text)
