"""One redactor for everything that is shown, logged or kept: plans, errors, settings, URLs.

What it takes out:

- user information of URLs (``postgresql://app:s3cret@host`` keeps ``app`` and the host);
- values of anything called password, secret, token, signature, credential, API or access key, in
  ``name=value``, ``name: value``, JSON and XML; query strings of presigned URLs among them;
- AWS access key ids, and every secret this process knows: those of the environment, and those
  that boto3 found (:func:`remember_secret`).

It rather takes out too much than too little, and it may be applied twice.
"""

from __future__ import annotations

import os
import re
import threading
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "redact", "remember_secret"]

MASK = "***"

_SECRET_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "PGPASSWORD",
)
_SHORTEST = 6  # a secret such as "test" would blot out half of every message

_NAMES = (
    r"[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|signature|credential|"
    r"api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|authorization)[\w.-]*"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"

# Greedy up to the last "@" of the word: passwords may hold "@", "/" and ":" though they should
# not. A number and a slash after the host is a port, not a password.
_USERINFO = re.compile(r"([a-zA-Z][\w+.-]*://)([^\s/:@'\"]*):(?!\d+(?:[/?#\s'\"]|$))([^\s'\"]*)@")
_BARE_USERINFO = re.compile(r"([a-zA-Z][\w+.-]*://)[^\s/:@'\"]{20,}@")  # a token as the user
_PAIR = re.compile(
    rf"(?P<name>[\"']?\b{_NAMES}[\"']?)(?P<sign>\s*(?:=|:(?!//))\s*)"
    rf"(?P<value>{_QUOTED}|(?:Bearer |Basic |AWS4-HMAC-SHA256 )?[^\s&;,\"'<>)}}\]]+)",
    re.IGNORECASE,
)
_XML = re.compile(rf"<({_NAMES})>[^<]*</\1>", re.IGNORECASE)
_HEADER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")
_AZURE = re.compile(r"([?&]sig=)[^&\s\"'<>]+", re.IGNORECASE)

_known: set[str] = set()
_lock = threading.Lock()


def remember_secret(value: str | None) -> None:
    """Take ``value`` out of every text from now on, as it is and percent-encoded."""
    if value and len(value) >= _SHORTEST:
        with _lock:
            _known.add(value)


def redact(text: str) -> str:
    """Return ``text`` without its secrets.

    Args:
        text: A message, URL, DSN, plan, or anything else that a person may see.
    """
    for secret in _secrets():
        for form in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
            text = text.replace(form, MASK)
    text = _USERINFO.sub(rf"\1\2:{MASK}@", text)
    text = _BARE_USERINFO.sub(rf"\1{MASK}@", text)
    text = _PAIR.sub(_mask_pair, text)
    text = _XML.sub(rf"<\1>{MASK}</\1>", text)
    text = _AZURE.sub(rf"\1{MASK}", text)
    text = _HEADER.sub(rf"\1 {MASK}", text)
    return _KEY_ID.sub(MASK, text)


def _mask_pair(match: re.Match[str]) -> str:
    value = match["value"]
    mark = value[0] if value[0] in "\"'" else ""
    return f"{match['name']}{match['sign']}{mark}{MASK}{mark}"


def _secrets() -> list[str]:
    """Known secrets, the longest first, so that none hides inside another."""
    values = {os.environ.get(name, "") for name in _SECRET_VARIABLES}
    with _lock:
        values |= _known
    return sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)
