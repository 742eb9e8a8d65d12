"""The queries that a module or package declares."""

from __future__ import annotations

import pkgutil
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from orchestration.config import Settings
from orchestration.errors import ConfigError, DeclarationError, HeadwaterError, UnknownQuery
from orchestration.redaction import redact
from orchestration.runtime.query import StreamingQuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["choose", "find_queries"]


def find_queries(module: str) -> dict[str, StreamingQuery]:
    """Every query of a module; of a package, those of its submodules too.

    A query is a :class:`StreamingQuery` or anything that has one as its ``query`` (a pipeline),
    on its own or in a list, tuple or dict.

    Args:
        module: Dotted name, found from the current directory, the project's root, or installed.

    Returns:
        Name to query, in the order of declaration.

    Raises:
        ConfigError: There is no such module.
        DeclarationError: Importing it fails, or two queries have the same name.
    """
    _extend_path()
    found: dict[str, StreamingQuery] = {}
    for part in _modules(module):
        for query in _queries(vars(part).values()):
            other = found.setdefault(query.name, query)
            if other is not query:
                raise DeclarationError(
                    f"{module} declares two queries called {query.name!r}",
                    remedy="a name identifies a query for ever; give one of them another",
                )
    return found


def choose(queries: Mapping[str, StreamingQuery], name: str, module: str) -> StreamingQuery:
    """The query called ``name``.

    Raises:
        UnknownQuery: There is none; names the nearest.
    """
    if name in queries:
        return queries[name]
    if not queries:
        raise UnknownQuery(
            f"there is no query {name!r}: module {module!r} declares none",
            remedy="declare one with pipeline(...) or StreamingQuery(...), or name another module "
            "with -m",
        )
    near = get_close_matches(name, list(queries), n=3, cutoff=0.4)
    names = ", ".join(near or queries)
    raise UnknownQuery(
        f"module {module!r} declares no query {name!r}",
        remedy=f"did you mean {' or '.join(near)}?" if near else f"it declares {names}",
    )


def _extend_path() -> None:
    """Let modules be found as ``python -m`` would from here, and from the project's root."""
    root = Settings.load().root
    for place in (str(root) if root else "", str(Path.cwd())):
        if place and place not in sys.path:
            sys.path.insert(0, place)


def _modules(name: str) -> Iterator[ModuleType]:
    parent = _import(name)
    yield parent
    if hasattr(parent, "__path__"):
        for item in pkgutil.walk_packages(parent.__path__, f"{name}."):
            if not item.name.rpartition(".")[2].startswith("_"):
                yield _import(item.name)


def _import(name: str) -> ModuleType:
    try:
        known = find_spec(name) is not None
    except (ImportError, ValueError):
        known = False
    if not known:
        raise ConfigError(
            f"there is no module {name!r}",
            remedy="name one with -m that can be imported from here or from the project's root",
        )
    try:
        return import_module(name)
    except HeadwaterError:
        raise  # it says itself what is wrong with the declaration
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise DeclarationError(
            f"module {name!r} cannot be imported: "
            f"{redact(f'{type(error).__name__}: {error}')}{where}",
            remedy="mend it; 'headwater --debug' shows the whole traceback",
        ) from error


def _queries(values: Iterable[object], *, inside: bool = False) -> Iterator[StreamingQuery]:
    for value in list(values):
        if isinstance(value, StreamingQuery):
            yield value
        elif isinstance(value, list | tuple) and not inside:
            yield from _queries(value, inside=True)
        elif isinstance(value, dict) and not inside:
            yield from _queries(value.values(), inside=True)
        elif not isinstance(value, ModuleType | type):
            try:
                query = getattr(value, "query", None)
            except Exception:  # noqa: BLE001, S112 - a stranger's attribute may do anything
                continue
            if isinstance(query, StreamingQuery):
                yield query
