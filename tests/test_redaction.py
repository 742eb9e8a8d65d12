"""No canary survives the redactor, and what is no secret does."""

import pytest

from orchestration.redaction import redact, remember_secret

CANARY = "c4nary-S3cret"

LEAKS = [
    f"postgresql://app:{CANARY}@db.example/headwater",
    f"postgresql+psycopg://app:{CANARY}@db.example:5432/headwater?sslmode=require",
    f"postgresql://app:p@ss/{CANARY}:x@db.example/headwater",
    f"could not connect to 'https://me:{CANARY}@proxy:3128': refused",
    f"host=db user=app password={CANARY} dbname=x",
    f"password='{CANARY} with spaces' dbname=x",
    f'{{"aws_secret_access_key": "{CANARY}", "region": "eu"}}',
    f"{{'AWS_SESSION_TOKEN': '{CANARY}'}}",
    f"secret: {CANARY}",
    f"token={CANARY}&page=2",
    f"sslpassword={CANARY};x=1",
    f"api_key={CANARY}",
    f"client-secret={CANARY}",
    (
        f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={CANARY}%2F20260101"
        f"&X-Amz-Signature={CANARY}&X-Amz-Security-Token={CANARY}"
    ),
    f"https://b.s3.amazonaws.com/k?AWSAccessKeyId={CANARY}&Signature={CANARY}&Expires=1",
    f"https://acc.blob.core.windows.net/c/k?sv=2022&sig={CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"Authorization: AWS4-HMAC-SHA256 Credential={CANARY}/20260101/eu/s3/aws4_request, Signature={CANARY}",
    f"<Error><SecretAccessKey>{CANARY}</SecretAccessKey></Error>",
    f"https://{CANARY}{CANARY}@example.com/x",
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_secret_gets_through(text):
    shown = redact(text)
    assert CANARY not in shown
    assert "***" in shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "name",
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD"],
)
def test_secrets_of_the_environment_are_known(monkeypatch, name):
    monkeypatch.setenv(name, "canary/with+slash")
    assert "canary" not in redact("a canary/with+slash, encoded canary%2Fwith%2Bslash")


def test_secrets_that_were_remembered_are_known():
    remember_secret("remembered-canary")
    assert redact("x remembered-canary y") == "x *** y"


def test_short_values_do_not_blot_out_messages(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert redact("tests/test_x.py") == "tests/test_x.py"


def test_access_key_ids_are_taken_out():
    assert redact("denied for AKIAIOSFODNN7EXAMPLE here") == "denied for *** here"


@pytest.mark.parametrize(
    "text",
    [
        "landing/clicks/a b.json line 3: amount: 5.7 is not a BIGINT",
        "s3://bucket/user@example/x:y.json",
        "http://127.0.0.1:8333/bucket/a@b.json did not answer",
        "sqlite:////home/me/project/.headwater/cursors.db",
        "offset {'files': 17} of source 'files'",
        "postgresql://app@db.example/headwater",
        "2026-01-01T00:00:00Z",
        "",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_user_and_host_of_a_url_stay():
    assert redact(f"postgresql://app:{CANARY}@db:5432/x") == "postgresql://app:***@db:5432/x"
