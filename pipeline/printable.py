"""Text as it leaves the program: nothing in it commands a terminal, or shows other words than it has.

Standard library only: set-up is one of the commands.
"""

from __future__ import annotations

import re

# C0 and C1 controls, DEL; what turns the direction of writing, marks, overrides and isolates; the two line ends that
# are no newline; halves of surrogate pairs, which cannot be encoded.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
_BLANKS = "\t\n\r"


def printable(text: str) -> str:
    r"""Make a text from anywhere one line that a terminal or a page only shows.

    Args:
        text: what a server, a store, an archive, a record or a person has written.

    Returns:
        The text with blanks for line ends and tabs, and `\u001b` and the like, which JSON knows too, for whatever else
        would not be shown. Everything else stays, whatever its script.
    """
    return _COMMANDS.sub(_shown, text)


def printable_lines(text: str) -> str:
    """Make a text of several lines printable, and leave it its lines."""
    return "\n".join(map(printable, text.split("\n")))


def _shown(match: re.Match[str]) -> str:
    return " " if match[0] in _BLANKS else f"\\u{ord(match[0]):04x}"
