"""The search for secrets finds them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.conftest import PASSWORD
from tests.secrets import found_in


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda secret: json.dumps({"a": json.dumps({"b": secret})}),
        lambda secret: f"mysql://me:{quote(secret, safe='')}@db",
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.b64encode(f"me:{secret}".encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(f"a user:{secret} and more".encode()).decode(),
        lambda secret: secret.encode().hex(),
    ],
)
def test_a_secret_is_found_however_it_is_written(write: Callable[[str], str]) -> None:
    assert found_in(f"before {write(PASSWORD)} behind".encode(), {"password": PASSWORD}) == {"password"}


def test_another_text_is_no_secret() -> None:
    assert found_in(repr(PASSWORD[:-1]).encode(), {"password": PASSWORD}) == set()
