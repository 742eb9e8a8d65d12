"""``python -m orchestration.cli``: the command, where it is not installed."""

from __future__ import annotations

from orchestration.cli.app import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
