"""Rows of a table marked as deleted, as Spark and Databricks do it and delta-rs does not."""

import json
import struct
from pathlib import Path

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
CONFIGURATION = {"delta.enableDeletionVectors": "true"}


def mark_deleted(where, rows, *, operation="DELETE"):
    """Commit a deletion of these rows (by number) of each active file that is named so.

    Args:
        where: Directory of the table.
        rows: Path in the log to numbers of rows.
        operation: What did it.
    """
    log = Path(where) / "_delta_log"
    versions = sorted(log.glob("0*.json"))
    adds = {}
    for path in versions:
        for line in path.read_text().splitlines():
            action = json.loads(line) if line.strip() else {}
            if "add" in action:
                adds[action["add"]["path"]] = action["add"]
    actions = [{"commitInfo": {"timestamp": 1, "operation": operation}}]
    for path, numbers in rows.items():
        old = adds[path]
        gone = {name: old[name] for name in ("path", "partitionValues", "size")}
        actions.append({"remove": {**gone, "dataChange": True, "deletionTimestamp": 1}})
        actions.append({"add": {**old, "deletionVector": _inline(numbers)}})
    text = "\n".join(json.dumps(item) for item in actions)
    (log / f"{len(versions):020d}.json").write_text(text)


def _inline(numbers):
    data = _bitmap(sorted(numbers))
    size = len(data)
    return {
        "storageType": "i",
        "pathOrInlineDv": _z85(data + b"\0" * (-size % 4)),
        "sizeInBytes": size,
        "cardinality": len(numbers),
    }


def _bitmap(numbers):
    """A 64-bit roaring bitmap of one array container, with Delta's magic number."""
    head = struct.pack("<iqI", 1681511377, 1, 0)
    container = struct.pack("<IIHHI", 12346, 1, 0, len(numbers) - 1, 16)
    return head + container + b"".join(struct.pack("<H", number) for number in numbers)


def _z85(data):
    text = ""
    for begin in range(0, len(data), 4):
        (value,) = struct.unpack(">I", data[begin : begin + 4])
        digits = ""
        for _ in range(5):
            value, digit = divmod(value, 85)
            digits = _Z85[digit] + digits
        text += digits
    return text
