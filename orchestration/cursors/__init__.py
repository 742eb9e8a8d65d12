"""The cursor store: what was planned, sealed and committed, which files were seen, who runs."""

__all__: list[str] = []
