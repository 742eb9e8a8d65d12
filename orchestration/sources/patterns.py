"""Which names of a directory are input: hidden names and glob patterns."""

from __future__ import annotations

import re
from functools import lru_cache

from orchestration.errors import DeclarationError

__all__ = ["check_glob", "compile_glob", "is_hidden", "is_hidden_path"]


def is_hidden(name: str, *, directory: bool = False) -> bool:
    """Whether a name is never input: it starts with ``.`` or ``_``.

    Such are the files of writers that are not done (``_temporary``, ``.part``) and markers
    (``_SUCCESS``). A partition directory may start with ``_``: ``_year=2026`` is not hidden.
    """
    first = name[:1]
    return first == "." or (first == "_" and not (directory and "=" in name))


def is_hidden_path(path: str) -> bool:
    """Whether a file, or a directory above it, is hidden."""
    *directories, name = path.split("/")
    return is_hidden(name) or any(is_hidden(part, directory=True) for part in directories)


@lru_cache(maxsize=256)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression for ``fullmatch``.

    ``*`` and ``?`` do not cross ``/``, ``**/`` is any number of directories, ``[a-z]`` and
    ``[!a-z]`` are one character, ``{csv,txt}`` is either.

    Raises:
        DeclarationError: A bracket or brace is not closed.
    """
    text, position, depth = "", 0, 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*" and pattern.startswith("*/", position):
            text, position = text + "(?:[^/]+/)*", position + 2
        elif char == "*" and pattern.startswith("*", position):
            text, position = text + ".*", position + 1
        elif char == "*":
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif char == "[":
            # "]" first in a class stands for itself, as in the shell
            end = pattern.find("]", position + 1 + pattern.startswith("!", position))
            if end < 0:
                raise _unclosed(pattern, "[")
            chosen = pattern[position:end].replace("\\", "\\\\").replace("[", "\\[")
            negated = chosen.startswith("!")
            inner = chosen.removeprefix("!").replace("^", "\\^")
            text, position = f"{text}[{'^/' if negated else ''}{inner}]", end + 1
        elif char == "{":
            text, depth = text + "(?:", depth + 1
        elif char == "}" and depth:
            text, depth = text + ")", depth - 1
        elif char == "," and depth:
            text += "|"
        else:
            text += re.escape(char)
    if depth:
        raise _unclosed(pattern, "{")
    try:
        return re.compile(text, re.DOTALL)
    except re.error:
        raise _unclosed(pattern, "[") from None


def check_glob(pattern: str) -> None:
    """Refuse a pattern that could never match.

    Raises:
        DeclarationError: Says what is wrong.
    """
    if not pattern or pattern.startswith("/"):
        raise DeclarationError(
            f"glob={pattern!r} matches nothing: it is compared with a file's name or, where it "
            "has a slash, with its path below the directory",
            remedy="write for instance glob='*.json' or glob='eu/**/*.json'",
        )
    compile_glob(pattern)


def _unclosed(pattern: str, mark: str) -> DeclarationError:
    return DeclarationError(
        f"glob={pattern!r}: what {mark!r} begins is not closed or not a set of characters",
        remedy=f"close it, or write [{mark}] for the character itself",
    )
