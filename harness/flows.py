"""A file of flows: CSV with the columns from, to, protocol, port.

    from,to,protocol,port
    web-01,db-01,tcp,1433
    web-01,db-01,icmp,

A header is needed; ``protocol`` may be left out (tcp) and further columns are ignored. ``-`` reads
standard input. Lines are read as they are asked for, so that a file may have millions. Names are not
looked up here.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.text import plain

if TYPE_CHECKING:
    from _csv import Reader

_NEEDED = ("from", "to", "port")
_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}


@dataclass(frozen=True, slots=True)
class FileFlow:
    """A flow and the line that it stands on, as ``file:line``."""

    place: str
    flow: Flow


def read_flows(path: Path) -> Iterator[FileFlow]:
    """Every flow of the file. The header is read at once, the lines one by one.

    Raises InputError that names file and line, also while lines are read.
    """
    origin = "standard input" if str(path) == "-" else plain(str(path))
    with ExitStack() as stack:
        rows = csv.reader(_lines(_opened(path, origin, stack), origin), strict=True)
        columns = _columns(_row(rows, origin) or [], origin)
        kept = stack.pop_all()
    return _flows(rows, columns, origin, kept)


def _opened(path: Path, origin: str, stack: ExitStack) -> TextIO:
    try:
        if str(path) == "-":
            # the program's own, which stays open; byte order mark and encoding as of a file
            stream = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
            stack.callback(stream.detach)
            return stream
        return stack.enter_context(path.open(encoding="utf-8-sig", newline=""))
    except (OSError, ValueError) as error:
        raise InputError(f"{origin}: {getattr(error, 'strerror', None) or error}") from error


def _lines(stream: TextIO, origin: str) -> Iterator[str]:
    try:
        yield from stream
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: not UTF-8 text (byte 0x{error.object[error.start]:02x})") from error
    except OSError as error:
        raise InputError(f"{origin}: {error.strerror or error}") from error


def _row(rows: Reader, origin: str) -> list[str] | None:
    """The next row; None after the last."""
    try:
        return next(rows, None)
    except csv.Error as error:
        raise InputError(f"{origin}:{rows.line_num}: not CSV: {plain(str(error))}") from error


def _columns(header: Iterable[str], origin: str) -> list[str]:
    names = [name.strip().lower() for name in header]
    missing = [name for name in _NEEDED if name not in names]
    twice = next((name for name in (*_NEEDED, "protocol") if names.count(name) > 1), None)
    hint = "the first line names the columns: from,to,protocol,port"
    if missing:
        raise InputError(f"{origin}:1: the header lacks {' and '.join(missing)}", hint=hint)
    if twice is not None:
        raise InputError(f"{origin}:1: the header names '{twice}' twice", hint=hint)
    return names


def _flows(rows: Reader, columns: list[str], origin: str, opened: ExitStack) -> Iterator[FileFlow]:
    source, target, port = (columns.index(name) for name in _NEEDED)
    protocol = columns.index("protocol") if "protocol" in columns else None
    with opened:
        while (row := _row(rows, origin)) is not None:
            if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
                continue
            place = f"{origin}:{rows.line_num}"
            if len(row) != len(columns):
                raise InputError(f"{place}: {len(row)} columns, the header has {len(columns)}")
            word = row[protocol].strip().lower() if protocol is not None else ""
            yield FileFlow(
                place, _flow(row[source].strip(), row[target].strip(), word, row[port].strip(), place)
            )


def _flow(source: str, target: str, word: str, port: str, place: str) -> Flow:
    for name, text in (("from", source), ("to", target)):
        if not text:
            raise InputError(f"{place}: '{name}' is empty")
    protocol = _PROTOCOLS.get(word or Protocol.TCP.value)
    if protocol is None:
        raise InputError(f"{place}: '{plain(word)}' is no protocol", hint=f"there are: {', '.join(Protocol)}")
    return Flow(source, target, protocol, _port(port, protocol, place))


def _port(text: str, protocol: Protocol, place: str) -> int | None:
    if not protocol.has_ports:
        if text:
            raise InputError(f"{place}: {protocol} has no port, but '{plain(text)}' was given")
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        shown = f"'{plain(text)}' is no port" if text else f"{protocol} needs a port"
        raise InputError(f"{place}: {shown}: they go from 1 to 65535")
    return int(text)
