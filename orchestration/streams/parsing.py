"""SQL text to tokens and a tree, with every failure an :class:`ExpressionError`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from orchestration.errors import ExpressionError

if TYPE_CHECKING:
    from sqlglot import Token, exp

__all__ = ["Parsed", "Word", "parse_expression", "pointer", "same_tree", "shown", "tokenize"]

_PREFIX = "SELECT\n"  # its own line, so that columns in the parser's messages are the user's
_STATEMENT_WORDS = """
    alter analyze attach begin call checkpoint comment commit copy create deallocate delete describe
    detach drop execute explain export from import insert install load merge pragma prepare reset
    rollback select set show summarize truncate update use vacuum values with
"""
_STATEMENTS = frozenset(_STATEMENT_WORDS.split())
_NAME = re.compile(r"[^\W\d]\w*")
_WIDTH = 72  # characters of a line shown around a fault
_GAP = (
    "correct it at the mark. Expressions are parsed by sqlglot; should DuckDB itself take this "
    "text, then it is a gap of that parser, not your mistake: write the same thing another way"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A name in the text, where it may call a function.

    Attributes:
        name: In lower case, without quotes.
        start, end: Its place in the text; ``end`` is after its last character.
        call_end: After the closing parenthesis where the name is called without arguments.
        called: Whether an opening parenthesis follows.
        quoted: Whether it stands in double quotes.
        qualified: Whether a dot stands before it.
    """

    name: str
    start: int
    end: int
    call_end: int | None
    called: bool
    quoted: bool
    qualified: bool


@dataclass(frozen=True, slots=True)
class Parsed:
    """One parsed expression.

    Attributes:
        text: The user's text from the first to the last token: comments around it are gone, so
            it can stand in parentheses.
        tree: What it means to sqlglot; shared between callers, so never changed.
        alias_cut: Length of ``text`` without its ``AS name``; all of it where there is none.
        words: Names in it, see :class:`Word`.
    """

    text: str
    tree: exp.Expr
    alias_cut: int
    words: tuple[Word, ...]


def shown(place: str, text: object) -> str:
    """An expression in its place, for messages.

    >>> shown("where", "amount >= 0")
    "where('amount >= 0')"
    >>> shown("select(total=", "amount * 2")
    "select(total='amount * 2')"
    """
    return f"{place}{text!r})" if "(" in place else f"{place}({text!r})"


def pointer(text: str, position: int) -> str:
    """The line of a text with a mark under one character.

    >>> print(pointer("a +", 2))
        a +
          ^
    """
    position = min(max(position, 0), len(text))
    start = text.rfind("\n", 0, position) + 1
    line = text[start:].split("\n", 1)[0]
    column = position - start
    first = max(0, column - _WIDTH // 2)
    line = line[first : first + _WIDTH].replace("\t", " ")
    return f"    {line}\n    {' ' * (column - first)}^"


@lru_cache(maxsize=4096)
def _parse_cached(text: str, place: str) -> Parsed:
    return _parse(text, place)


def parse_expression(text: object, place: str = "expression") -> Parsed:
    """Parse one expression of DuckDB's dialect.

    Args:
        text: The user's text.
        place: Where it stands, for messages: ``where``, ``select``.

    Raises:
        ExpressionError: It is not one expression.
    """
    if not isinstance(text, str):
        raise ExpressionError(
            f"{shown(place, text)}: an expression is a text, not a {type(text).__name__}",
            remedy='write it in quotes, e.g. "amount >= 0"',
        )
    return _parse_cached(text, place)


def _parse(text: str, place: str) -> Parsed:
    import sqlglot
    from sqlglot.errors import ParseError

    where = shown(place, text)
    if not text.strip():
        raise ExpressionError(f"{where}: the expression is empty", remedy="write one, or none")
    if re.search(r"[\0\ud800-\udfff]", text):
        raise ExpressionError(
            f"{where}: there is a NUL or half a unicode character in the text",
            remedy="remove it; to search for one in the data use chr(0)",
        )
    tokens = tokenize(text, where)
    if not tokens:
        raise ExpressionError(f"{where}: there is only a comment", remedy="write an expression")
    _check_tokens(text, tokens, where)
    try:
        trees = sqlglot.parse(_PREFIX + text, dialect="duckdb")
    except ParseError as error:
        raise _syntax_error(text, tokens, where, error) from None
    except RecursionError:
        raise _too_deep(where) from None
    except Exception as error:  # noqa: BLE001 - a parser given any text at all may fail in any way
        raise ExpressionError(
            f"{where}: it cannot be parsed ({type(error).__name__})", remedy=_GAP
        ) from None
    tree = _only_projection(trees, where)
    _check_intervals(tree, where)
    _check_brackets(text, tokens, where)
    first = tokens[0].start
    clean = text[first : tokens[-1].end + 1]
    return Parsed(
        clean, tree, _alias_cut(tokens, tree, where) - first, tuple(_words(text, tokens, first))
    )


def same_tree(left: exp.Expr, right: exp.Expr) -> bool:
    """Whether two texts mean the same to the parser; comments and layout do not count."""
    return left == right


def tokenize(text: str, where: str) -> list[Token]:
    """The tokens of a text.

    Args:
        text: SQL.
        where: The text in its place, for messages.

    Raises:
        ExpressionError: A quote or a comment is not closed.
    """
    from sqlglot.dialects.duckdb import DuckDB

    try:
        return list(DuckDB().tokenize(text))
    except Exception as error:  # noqa: BLE001 - see _parse
        cause = str(error.__cause__ or error)
        open_quote = re.search(r"Missing (\S+) from (\d+):(\d+)", cause)
        what = f"{open_quote[1]} is opened and not closed" if open_quote else "it does not end"
        if "/*" in text and not open_quote:
            what = "a comment (/*) is opened and not closed"
        raise ExpressionError(f"{where}: {what}", remedy="close it") from None


def _check_tokens(text: str, tokens: list[Token], where: str) -> None:
    from sqlglot import TokenType

    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            raise ExpressionError(
                f"{where}: a semicolon ends a statement, and one expression is expected\n"
                + pointer(text, token.start),
                remedy="remove it; two conditions are joined with AND",
            )
    if tokens[0].token_type is TokenType.ALIAS:
        raise ExpressionError(
            f"{where}: a name (AS ...) is given, and nothing that it names\n"
            + pointer(text, tokens[0].start),
            remedy="write the expression before AS",
        )
    if tokens[-1].token_type is TokenType.COMMA:
        raise ExpressionError(
            f"{where}: something is missing after the last comma\n"
            + pointer(text, tokens[-1].start),
            remedy="remove the comma, or write what follows it",
        )


def _check_brackets(text: str, tokens: list[Token], where: str) -> None:
    """The parser does not mind a bracket that is missing at the end; DuckDB does."""
    from sqlglot import TokenType

    closing = {
        TokenType.L_PAREN: TokenType.R_PAREN,
        TokenType.L_BRACKET: TokenType.R_BRACKET,
        TokenType.L_BRACE: TokenType.R_BRACE,
    }
    opened: list[Token] = []
    for token in tokens:
        if token.token_type in closing:
            opened.append(token)
        elif token.token_type in closing.values() and (
            not opened or closing[opened.pop().token_type] is not token.token_type
        ):
            raise ExpressionError(
                f"{where}: a bracket is closed that was not opened\n" + pointer(text, token.start),
                remedy="remove it, or open it before",
            )
    if opened:
        raise ExpressionError(
            f"{where}: a bracket is opened and not closed\n" + pointer(text, opened[-1].start),
            remedy="close it",
        )


def _syntax_error(text: str, tokens: list[Token], where: str, error: Exception) -> ExpressionError:
    if tokens[0].text.lower() in _STATEMENTS and len(tokens) > 1:
        return ExpressionError(
            f"{where}: {tokens[0].text.upper()} begins a statement, and an expression is expected",
            remedy='write only the value or the condition, e.g. "amount >= 0"',
        )
    details = getattr(error, "errors", None) or [{}]
    description = str(details[0].get("description") or "it cannot be parsed")
    line, column = int(details[0].get("line") or 2), int(details[0].get("col") or 1)
    if description.startswith("Required keyword"):
        description = "something is missing here"
    elif "Unexpected token" in description:
        description = "this cannot stand here"
    elif "<Token" in description:
        description = description.split(" but got", 1)[0]
    position = _position(text, line - 1, column)
    return ExpressionError(
        f"{where}: not an SQL expression: {description} "
        f"(line {max(line - 1, 1)}, column {column})\n{pointer(text, position)}",
        remedy=_GAP,
    )


def _position(text: str, line: int, column: int) -> int:
    """Offset of a 1-based line and column; the parser's column is that of a token's end."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return starts[min(max(line, 1), len(starts)) - 1] + max(column, 1) - 1


def _too_deep(where: str) -> ExpressionError:
    return ExpressionError(
        f"{where}: the expression is nested too deeply", remedy="split it over two select steps"
    )


def _only_projection(trees: list[exp.Expr | None], where: str) -> exp.Expr:
    from sqlglot import exp

    tree = trees[0] if len(trees) == 1 else None
    extra = (
        [key for key, value in tree.args.items() if value and key != "expressions"]
        if isinstance(tree, exp.Select)
        else ["statement"]
    )
    if not isinstance(tree, exp.Select) or extra:
        word = extra[0].strip("_").upper() if isinstance(tree, exp.Select) else ""
        raise ExpressionError(
            f"{where}: a query stands here{f' ({word})' if word else ''}, and an expression is "
            "expected",
            remedy="write only the value or the condition; where, select and map_batches are "
            "steps of their own",
        )
    if len(tree.expressions) != 1:
        raise ExpressionError(
            f"{where}: {len(tree.expressions)} expressions stand in one text",
            remedy='give each its own text: select("a", "b")',
        )
    found = tree.expressions[0]
    if not isinstance(found, exp.Expression):
        raise ExpressionError(f"{where}: this is not an expression", remedy=_GAP)
    return found


def _check_intervals(tree: exp.Expr, where: str) -> None:
    """The parser takes a column behind INTERVAL, and something else inside brackets; DuckDB neither."""
    from sqlglot import exp

    for found in tree.find_all(exp.Interval):
        if isinstance(found.this, exp.Column):
            name = found.this.sql(dialect="duckdb")
            raise ExpressionError(
                f"{where}: INTERVAL {name} is not SQL: a column stands there without brackets",
                remedy=f"write INTERVAL ({name}) SECONDS, or another unit",
            )


def _alias_cut(tokens: list[Token], tree: exp.Expr, where: str) -> int:
    """Where the expression ends and its ``AS name`` begins."""
    from sqlglot import TokenType, exp

    if not isinstance(tree, (exp.Alias, exp.Aliases)):
        return tokens[-1].end + 1
    if len(tokens) >= 3 and tokens[-2].token_type is TokenType.ALIAS:
        return tokens[-3].end + 1
    if len(tokens) > 1 and tokens[1].token_type is TokenType.COLON:
        raise ExpressionError(
            f"{where}: a name before a colon is not taken",
            remedy='write the name as an argument: select(name="expression")',
        )
    raise ExpressionError(
        f"{where}: two values stand side by side without an operator between them",
        remedy="write the operator that is missing (a name is given with AS); or " + _GAP,
    )


def _words(text: str, tokens: list[Token], first: int) -> list[Word]:
    from sqlglot import TokenType

    words = []
    for index, token in enumerate(tokens):
        quoted = token.token_type is TokenType.IDENTIFIER
        raw = text[token.start : token.end + 1]
        if not (quoted or _NAME.fullmatch(raw)):
            continue
        before = tokens[index - 1].token_type if index else None
        after = [item.token_type for item in tokens[index + 1 : index + 3]]
        # x::list(...) and CAST(x AS list(...)) name a type
        called = after[:1] == [TokenType.L_PAREN] and before not in {
            TokenType.DCOLON,
            TokenType.ALIAS,
        }
        empty = called and after[1:] == [TokenType.R_PAREN]
        words.append(
            Word(
                (token.text if quoted else raw).lower(),
                token.start - first,
                token.end + 1 - first,
                tokens[index + 2].end + 1 - first if empty else None,
                called,
                quoted,
                before is TokenType.DOT,
            )
        )
    return words
