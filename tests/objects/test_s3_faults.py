"""What goes wrong with a store comes out typed, soon, and without a secret."""

import os
import time

import pytest

from orchestration.errors import UnsafeStore
from orchestration.objects import Place, PlaceError, storage_options
from orchestration.objects.s3 import S3Place
from orchestration.redaction import redact

OPERATIONS = {
    "list": lambda place, _: list(place.list()),
    "get": lambda place, _: place.get("x"),
    "put": lambda place, _: place.put("x", b"1"),
    "put_if_absent": lambda place, _: place.put_if_absent("y", b"1"),
    "download": lambda place, tmp: place.download("x", tmp / "x"),
}


def _fault(operation, place, tmp_path):
    started = time.monotonic()
    with pytest.raises(PlaceError) as caught:
        OPERATIONS[operation](place, tmp_path)
    assert time.monotonic() - started < 10
    assert caught.value.remedy
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert os.environ.get(name, "nothing to hide") not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_such_bucket(s3, tmp_path, operation):
    error = _fault(operation, Place.open("s3://no-such-bucket/x"), tmp_path)
    assert error.kind == "no_bucket"
    assert s3.endpoint in str(error)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_wrong_secret(s3, tmp_path, operation, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-wrong-secret")
    error = _fault(operation, Place.open(s3.uri), tmp_path)
    assert error.kind == "denied"
    assert "SignatureDoesNotMatch" in str(error)


@pytest.mark.parametrize("operation", ["put", "put_if_absent"])
def test_who_may_only_read_cannot_write(s3, tmp_path, operation, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.server.reader_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.server.reader_secret)
    error = _fault(operation, Place.open(s3.uri), tmp_path)
    assert error.kind == "denied"
    assert list(Place.open(s3.uri).list()) == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_answers(s3, tmp_path, operation, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = _fault(operation, Place.open(s3.uri), tmp_path)
    assert error.kind == "unavailable"
    assert "127.0.0.1:9" in error.remedy


def test_a_password_in_the_endpoint_is_not_shown(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:canary-pass@127.0.0.1:9")
    error = _fault("list", Place.open(s3.uri), tmp_path)
    assert "canary-pass" not in str(error)


def test_no_credentials_at_all(s3, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = _fault("list", Place.open(s3.uri), tmp_path)
    assert error.kind == "denied"
    assert "AWS_PROFILE" in error.remedy
    with pytest.raises(PlaceError, match="no AWS credentials"):
        storage_options(s3.uri)


def test_an_unknown_profile(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in str(_fault("list", Place.open(s3.uri), tmp_path))


def test_a_profile_gives_credentials_and_endpoint(s3, tmp_path, monkeypatch):
    config = tmp_path / "config"
    config.write_text(
        "[profile work]\n"
        f"aws_access_key_id = {s3.server.access_key}\n"
        f"aws_secret_access_key = {s3.server.secret_key}\n"
        "region = eu-west-3\n"
        f"endpoint_url = {s3.endpoint}\n"
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "work")
    Place.open(s3.uri).put("x", b"1")
    assert s3.get("x") == b"1"
    assert storage_options(s3.uri) == {
        "AWS_REGION": "eu-west-3",
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": s3.server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.server.secret_key,
    }


def test_the_s3_endpoint_goes_before_the_general_one(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    Place.open(s3.uri).put("x", b"1")
    assert s3.get("x") == b"1"


def test_local_tables_need_no_options():
    assert storage_options("/some/where") == {}


def test_secrets_that_boto3_found_are_redacted_from_then_on(s3, tmp_path, monkeypatch):
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = canary-key-id\n"
        "aws_secret_access_key = canary/secret+key\naws_session_token = canary-token\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    with pytest.raises(PlaceError):
        list(Place.open(s3.uri).list())
    shown = redact("it said canary/secret+key, canary%2Fsecret%2Bkey, canary-token, canary-key-id")
    assert "canary" not in shown


def test_a_changed_object_is_not_downloaded(s3, tmp_path):
    etag = s3.put("x", b"first")
    place = Place.open(s3.uri)
    assert place.download("x", tmp_path / "x", etag) == 5
    s3.put("x", b"other")
    with pytest.raises(PlaceError) as caught:
        place.download("x", tmp_path / "y", etag)
    assert caught.value.kind == "changed"
    assert not (tmp_path / "y").exists()


def test_a_store_that_ignores_the_condition_is_refused(s3):
    class Careless(S3Place):
        """A store that overwrites, as two servers do; no installable server is left that does."""

        def put_if_absent(self, path, data):
            self.put(path, data)
            return True

    with pytest.raises(UnsafeStore, match="ignores conditional PUT") as caught:
        Careless(f"{s3.uri}/tables").probe_conditional_put()
    assert caught.value.remedy
    assert s3.keys() == []


def test_keys_that_obstore_cannot_name_are_listed_and_fetched_all_the_same(s3, tmp_path):
    for key in ("in/a", "in/b\nb", "in/c", "in-not/x"):
        s3.put(key, key.encode())
    place = Place.open(f"{s3.uri}/in")
    listed = {info.path: info for info in place.list()}
    assert listed.keys() == {"a", "b\nb", "c"}
    assert [info.path for info in place.list_after("a")] == ["b\nb", "c"]
    etag = listed["b\nb"].etag
    assert place.download("b\nb", tmp_path / "x", etag) == 6
    assert (tmp_path / "x").read_bytes() == b"in/b\nb"
    assert place.get_tail("b\nb", 1) == b"b"
    s3.put("in/b\nb", b"other")
    with pytest.raises(PlaceError) as caught:
        place.download("b\nb", tmp_path / "y", etag)
    assert caught.value.kind == "changed"
    s3.delete("in/b\nb")
    with pytest.raises(PlaceError) as caught:
        place.download("b\nb", tmp_path / "y", etag)
    assert caught.value.kind == "missing"
    assert not (tmp_path / "y").exists()
