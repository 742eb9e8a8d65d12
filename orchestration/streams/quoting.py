"""Names and text values as they stand in SQL."""

from __future__ import annotations

from orchestration.errors import SchemaError

__all__ = ["quote_identifier", "quote_literal"]


def quote_identifier(name: str) -> str:
    """A name in double quotes, whatever characters it has.

    >>> quote_identifier('a "b" c')
    '"a ""b"" c"'

    Raises:
        SchemaError: The name is empty or holds a NUL, which no quoting makes a name.
    """
    if not name:
        raise SchemaError("a name is empty", remedy="give every column a name")
    if "\0" in name:
        raise SchemaError(f"the name {name!r} holds a NUL character", remedy="rename it")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """A text value in single quotes.

    >>> quote_literal("it's")
    "'it''s'"

    Raises:
        SchemaError: The text holds a NUL, which SQL text cannot.
    """
    if "\0" in value:
        raise SchemaError(f"the text {value!r} holds a NUL character", remedy="remove it")
    return "'" + value.replace("'", "''") + "'"
