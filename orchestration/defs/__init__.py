"""Dagster: assets, checks, sensors and schedules made of queries."""
