"""Every error Headwater raises on purpose.

::

    HeadwaterError
    ├── ConfigError                 a setting is missing or makes no sense
    ├── DeclarationError            what the user declared cannot run (also a ValueError)
    │   ├── ExpressionError         an SQL expression is wrong
    │   ├── SchemaError             a schema is wrong, or two do not fit together
    │   └── OutputModeError         the output mode cannot hold this query
    ├── UnknownQuery                no query of that name
    ├── QueryAlreadyRunning         another runner holds the query's lease        (refused)
    ├── LeaseLost                   this runner's lease was taken over; it writes nothing more
    ├── IncompatibleQuery           the declaration changed in a way state cannot follow (refused)
    ├── BatchBlocked                a batch failed the same way too often         (refused)
    ├── BatchUnfinished             a batch is decided and not committed yet      (refused)
    ├── CursorStoreError
    │   ├── CursorStoreUnavailable  the database does not answer                  (transient)
    │   ├── CursorStoreVersion      the database belongs to another Headwater     (refused)
    │   ├── CursorStoreBehindSink   the database is older than the table          (refused)
    │   └── CursorStoreLost         the table has history the database never saw  (refused)
    ├── SourceError
    │   ├── SourceUnavailable       a store or bucket does not answer             (transient)
    │   ├── FileChanged             a planned file changed before it was read
    │   ├── FileMissing             a planned file vanished before it was read
    │   ├── FileRewritten           a file read before has new content, and on_rewrite="fail"
    │   ├── TableRewritten          rows of a Delta table changed or went, and on_change="fail" (refused)
    │   ├── TableReplaced           another Delta table stands where one was read            (refused)
    │   ├── TableColumnsChanged     a Delta table has other columns than the stream          (refused)
    │   ├── TableLogGone            a Delta table's log was cleaned past the offset          (refused)
    │   ├── TableUnsupported        a Delta table needs what this reader cannot do           (refused)
    │   ├── SourceNotReady          a server lacks a setting, a right or a key            (refused)
    │   ├── SlotInUse               another consumer reads the replication slot         (transient)
    │   ├── SlotLost                the replication slot is gone, or was moved on         (refused)
    │   ├── PublicationChanged      the publication is not the one that was read          (refused)
    │   └── ServerChanged           another database server answers                       (refused)
    ├── BadRecords                  records could not be read, and the query says to fail
    └── SinkError
        ├── SinkUnavailable         the table's store does not answer             (transient)
        ├── SinkReplaced            the table was deleted or recreated            (refused)
        ├── SinkOwned               the table belongs to another query            (refused)
        ├── SinkSchemaChanged       the table's columns or partitioning differ    (refused)
        ├── SinkConflict            another writer kept getting in between        (transient)
        └── UnsafeStore             the store ignores conditional PUT             (refused)

To handle any of them::

    try:
        query.run()
    except HeadwaterError as error:
        print(error)          # what was found, what was expected
        print(error.remedy)   # what to do next

``Transient`` errors may pass when tried again later; ``Refused`` ones were raised before
anything was written and need a decision of a person (exit code 3 of the command).
"""

from __future__ import annotations

__all__ = [
    "BadRecords",
    "BatchBlocked",
    "BatchUnfinished",
    "ConfigError",
    "CursorStoreBehindSink",
    "CursorStoreError",
    "CursorStoreLost",
    "CursorStoreUnavailable",
    "CursorStoreVersion",
    "DeclarationError",
    "ExpressionError",
    "FileChanged",
    "FileMissing",
    "FileRewritten",
    "HeadwaterError",
    "IncompatibleQuery",
    "LeaseLost",
    "OutputModeError",
    "PublicationChanged",
    "QueryAlreadyRunning",
    "Refused",
    "SchemaError",
    "ServerChanged",
    "SinkConflict",
    "SinkError",
    "SinkOwned",
    "SinkReplaced",
    "SinkSchemaChanged",
    "SinkUnavailable",
    "SlotInUse",
    "SlotLost",
    "SourceError",
    "SourceNotReady",
    "SourceUnavailable",
    "TableColumnsChanged",
    "TableLogGone",
    "TableReplaced",
    "TableRewritten",
    "TableUnsupported",
    "Transient",
    "UnknownQuery",
    "UnsafeStore",
]


class HeadwaterError(Exception):
    """Base of all errors Headwater raises on purpose.

    Args:
        message: What was found and what was expected.
        remedy: What to do next: a command, or a change to the declaration.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else type(self).__name__
        return f"{message}\n  → {self.remedy}" if self.remedy else message


class Transient:
    """Mix-in: the same attempt may succeed later, unchanged."""


class Refused:
    """Mix-in: nothing was written; a person has to choose."""


class ConfigError(HeadwaterError):
    """A setting is missing or makes no sense."""


class DeclarationError(HeadwaterError, ValueError):
    """What the user declared cannot run."""


class ExpressionError(DeclarationError):
    """An SQL expression does not parse, names an unknown column, or stands where it may not."""


class SchemaError(DeclarationError):
    """A schema is wrong, or two schemas do not fit together."""


class OutputModeError(DeclarationError):
    """The output mode cannot hold what the query produces."""


class UnknownQuery(HeadwaterError, LookupError):
    """No query of that name is declared or recorded."""


class QueryAlreadyRunning(Refused, HeadwaterError):
    """Another runner holds the query's lease."""


class LeaseLost(HeadwaterError):
    """This runner's lease was taken over; whatever it was doing must not be written."""


class IncompatibleQuery(Refused, HeadwaterError):
    """The declaration changed in a way the query's history cannot follow."""


class BatchBlocked(Refused, HeadwaterError):
    """A batch failed the same way too often and waits for ``retry`` or ``skip``."""


class BatchUnfinished(Refused, HeadwaterError):
    """A crash left a batch, or a reset, half-way; the next run finishes it, and then this works."""


class CursorStoreError(HeadwaterError):
    """The cursor store cannot be used."""


class CursorStoreUnavailable(Transient, CursorStoreError):
    """The cursor store's database does not answer."""


class CursorStoreVersion(Refused, CursorStoreError):
    """The cursor store was written by a newer Headwater."""


class CursorStoreBehindSink(Refused, CursorStoreError):
    """The sink holds batches that the cursor store does not know: it is an older copy."""


class CursorStoreLost(Refused, CursorStoreError):
    """The sink belongs to this query, and the cursor store has never heard of it."""


class SourceError(HeadwaterError):
    """A source cannot give what was planned."""


class SourceUnavailable(Transient, SourceError):
    """A source's place (directory, bucket, server) does not answer or does not let us in."""


class FileChanged(SourceError):
    """A planned file changed before it was read."""


class FileMissing(SourceError):
    """A planned file vanished before it was read."""


class FileRewritten(SourceError):
    """A file that was read before has new content, and ``on_rewrite="fail"``."""


class TableRewritten(Refused, SourceError):
    """Rows that a Delta table held were changed or deleted, and ``on_change="fail"``."""


class TableReplaced(Refused, SourceError):
    """Another Delta table, or another history, stands where one was read."""


class TableColumnsChanged(Refused, SourceError):
    """A Delta table has other columns than the stream that reads it."""


class TableLogGone(Refused, SourceError):
    """The log of a Delta table was cleaned past what is still to be read."""


class TableUnsupported(Refused, SourceError):
    """A Delta table has a feature that cannot be read."""


class SourceNotReady(Refused, SourceError):
    """A database cannot be followed as it is: a setting, a right or a key is missing."""


class SlotInUse(Transient, SourceError):
    """Another session reads the replication slot just now."""


class SlotLost(Refused, SourceError):
    """The replication slot is gone, was invalidated, or was moved on by somebody else."""


class PublicationChanged(Refused, SourceError):
    """The publication, or a table in it, is not the one that the query has read so far."""


class ServerChanged(Refused, SourceError):
    """Another database server answers than the one that the query has read so far."""


class BadRecords(SourceError):
    """Records could not be read, and the query says that this fails the batch."""


class SinkError(HeadwaterError):
    """A Delta table cannot take what a batch wants to commit."""


class SinkUnavailable(Transient, SinkError):
    """The table's store does not answer or does not let us in."""


class SinkReplaced(Refused, SinkError):
    """The table was deleted, or another one stands in its place."""


class SinkOwned(Refused, SinkError):
    """The table belongs to another query or another cursor store."""


class SinkSchemaChanged(Refused, SinkError):
    """The table's columns or partitioning are not those that were declared."""


class SinkConflict(Transient, SinkError):
    """Other writers committed to the table in every attempt."""


class UnsafeStore(Refused, SinkError):
    """The object store ignores conditional PUT, so commits could be lost silently."""
