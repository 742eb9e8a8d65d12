"""Tools that some tests need and not every machine has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

__all__ = ["require"]

_PLACES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}
_HOW = {"chromium": "apt-get install -y chromium"}


def require(tool: str) -> Path:
    """The tool's path; a named skip where it is missing, and a failure in CI."""
    for name in _PLACES.get(tool, (tool,)):
        found = shutil.which(name)
        if found:
            return Path(found)
    message = f"{tool} is not installed ({_HOW.get(tool, 'install it')})"
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(f"CI must have it: {message}", pytrace=False)
    pytest.skip(message)
