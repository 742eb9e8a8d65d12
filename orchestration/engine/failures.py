"""DuckDB's errors while a batch runs, as errors of ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestration.errors import ExpressionError, HeadwaterError, SinkUnavailable
from orchestration.streams.operators import Aggregate, Operator, Select, Where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Caught", "translated"]


class Caught:
    """The first error of code that DuckDB calls; DuckDB's own message would say less."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def watch(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches; an error on the way is kept."""
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = self.error or error
            raise


@contextmanager
def translated(operators: Sequence[Operator], caught: Caught) -> Iterator[None]:
    """Raise what went wrong below DuckDB as it was, and DuckDB's own errors as ours.

    Raises:
        ExpressionError: An expression fails on a row.
        HeadwaterError: Memory or disk are full.
    """
    import duckdb

    try:
        yield
    except HeadwaterError:
        raise
    except Exception as error:
        if caught.error is not None:
            raise caught.error from None
        if not isinstance(error, duckdb.Error):
            raise
        raise _error(error, operators) from error


def _error(error: Exception, operators: Sequence[Operator]) -> HeadwaterError:
    import duckdb

    reason = str(error).split("\n", maxsplit=1)[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return HeadwaterError(
            f"the batch does not fit the engine's memory, even with spilling: {reason}",
            remedy="raise HEADWATER_MEMORY_LIMIT, free disk space, or take smaller batches "
            "(max_files, max_bytes)",
        )
    if isinstance(error, duckdb.IOException):
        return SinkUnavailable(
            f"the engine cannot write: {reason}", remedy="check disk space and permissions"
        )
    if not isinstance(error, (duckdb.DataError, duckdb.ProgrammingError, duckdb.OperationalError)):
        return HeadwaterError(
            f"the engine failed: {reason}", remedy="run again; if it stays, please report it"
        )
    texts = [
        text
        for operator in operators
        for text in (
            [operator.expression]
            if isinstance(operator, Where)
            else [text for _, text in operator.columns]
            if isinstance(operator, Select | Aggregate)
            else []
        )
        if not text.isidentifier()
    ]
    which = f"one of the expressions {texts}" if len(texts) != 1 else f"expression {texts[0]!r}"
    return ExpressionError(
        f"{which} fails on a row: {reason}",
        remedy="use try_cast or a where before it, so that no row fails",
    )
