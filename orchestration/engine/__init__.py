"""Compute a plan over one offset range and write Parquet files."""
