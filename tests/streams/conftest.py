from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from orchestration.streams.columns import Columns
from orchestration.streams.schema import parse_schema

CLICKS = {
    "event_id": "VARCHAR",
    "page": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "amount": "DECIMAL(10,2)",
    "ok": "BOOLEAN",
    "tags": "VARCHAR[]",
    "device": "STRUCT(os VARCHAR, screen STRUCT(width INTEGER, height INTEGER))",
    "items": "STRUCT(sku VARCHAR, price DOUBLE)[]",
    "labels": "MAP(VARCHAR, BIGINT)",
    "extra": "JSON",
    "my col": "BIGINT",
    "a.b": "BIGINT",
    "order": "BIGINT",
    "größe": "BIGINT",
}


@dataclass(frozen=True)
class Source:
    """The least a source must be."""

    schema: pa.Schema | None
    name: str = "clicks"
    details: dict = field(default_factory=lambda: {"kind": "files", "path": "in", "format": "json"})

    def describe(self):
        return dict(self.details)


@pytest.fixture
def clicks():
    return Source(parse_schema(CLICKS))


@pytest.fixture
def unknown():
    return Source(None)


@pytest.fixture
def make_source():
    return Source


@pytest.fixture(scope="session")
def columns():
    return Columns.from_schema(parse_schema(CLICKS))


@pytest.fixture(scope="session")
def clicks_schema():
    return parse_schema(CLICKS)
