"""One Spark session for all tests here; a named skip without Spark, and a failure in CI."""

from __future__ import annotations

import os
import warnings
from functools import partial
from importlib.util import find_spec

import pytest

from tests.support.tools import require


@pytest.fixture(scope="session")
def play():
    """``play(query, sources, additions, ...)`` on Spark."""
    require("java")
    if find_spec("pyspark") is None:
        message = "pyspark is not installed (pip install -e '.[spark]')"
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail(f"CI must have it: {message}", pytrace=False)
        pytest.skip(message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Spark's own, about what else is installed
        from tests.event_time.spark.judge import play as run
        from tests.event_time.spark.judge import spark_session

        with spark_session() as spark:
            yield partial(run, spark)
