"""Text that came from elsewhere, made safe to print.

Names in snapshots, environment files and guests' answers may hold control characters,
escape sequences or marks that reverse the reading direction. :func:`plain` makes each of
them visible. Not for colours or layout, and not a shell quoter.
"""

from __future__ import annotations

import unicodedata

# Cc control, Cf format (bidi marks, zero-width characters), Cs lone surrogates, Zl/Zp line ends
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(text: str) -> str:
    """``text`` on one line, with every control, bidi and zero-width character as an escape (``\\x1b``)."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def plain_lines(text: str) -> str:
    """As :func:`plain`, line by line: the line ends stay."""
    return "\n".join(plain(line) for line in text.split("\n"))
