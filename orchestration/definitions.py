"""Composition root: what Dagster loads, in one place and nothing else.

``HEADWATER_MODULE`` names the modules that declare pipelines, separated by commas; ``assets`` by
default.
"""

from __future__ import annotations

import os

import dagster as dg

from orchestration.defs.collect import definitions_from

__all__ = ["defs"]


@dg.definitions
def defs() -> dg.Definitions:
    """Every pipeline of the project, with its assets, checks, jobs, sensors and schedules."""
    modules = os.environ.get("HEADWATER_MODULE", "assets")
    return definitions_from(*(name.strip() for name in modules.split(",") if name.strip()))
