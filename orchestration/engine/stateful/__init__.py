"""Stateful operators on DuckDB: windows, sessions, deduplication, joins."""
