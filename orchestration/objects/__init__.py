"""Places where files lie: a local directory or an ``s3://`` prefix, behind one small interface."""

from __future__ import annotations

from orchestration.objects.base import ObjectInfo, Place, PlaceError, PlaceFault, storage_options

__all__ = ["ObjectInfo", "Place", "PlaceError", "PlaceFault", "storage_options"]
