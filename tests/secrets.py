"""Looking for a secret in whatever a program writes, in all the forms in which programs write a text."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote, quote_plus


@cache
def forms_of(secret: str) -> frozenset[bytes]:
    """The secret as it is, quoted for URLs, HTML, JSON, Python and the shell, in base64, in hex and in UTF-16."""
    plain = secret.encode()
    texts = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        html.escape(secret, quote=False),
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        repr(secret)[1:-1],
        shlex.quote(secret),
        secret.replace("'", "\\'"),
        secret.replace("'", "''"),
        secret.replace('"', '\\"'),
        plain.hex(),
        plain.hex().upper(),
    }
    lower = {quote(secret, safe="").replace(f"%{ord(char):02X}", f"%{ord(char):02x}") for char in secret}
    return frozenset({text.encode() for text in texts | lower} | _in_base64(plain) | {secret.encode("utf-16-le")})


def _in_base64(plain: bytes) -> set[bytes]:
    """What of the secret stays the same in base64 whatever stands before and behind it."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain)
        whole = encoded[(before * 8 + 5) // 6 : (before + len(plain)) * 8 // 6]
        found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def files_below(*folders: Path) -> Iterator[Path]:
    """Every file below the folders; links are not followed."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path


def found_in(content: bytes, secrets: dict[str, str]) -> set[str]:
    """The names of the secrets that are in a content, in any form."""
    return {name for name, secret in secrets.items() if any(form in content for form in forms_of(secret))}
