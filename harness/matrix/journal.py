"""The journal of a matrix: every result is written down as it comes, so that a broken run can go on.

JSON lines: the first says which matrix it is, each further one is a result. A file that ends in the
middle of a line (kill -9, full disk) loses that line only. What cannot be written is cut off again,
so a journal is never left with half a result by its own doing. Not for people: that is the CSV.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from harness.errors import AzreachError, InputError
from harness.matrix.question import Question
from harness.matrix.result import FlowResult
from harness.model import Flow, Outcome, Protocol

VERSION = 1
_START = b'{"azreach-matrix":'


class JournalError(AzreachError):
    """A journal that can no longer be written; what is in it is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    source: str
    target: str
    protocol: Protocol
    port: int | None = None
    family: int | None = None
    address: str
    outcome: Outcome
    rtt_ms: float | None = None
    detail: str = ""
    started: float


_ROWS = TypeAdapter(_Row)


class Journal:
    """An open journal, for one run at a time. ``done`` is what earlier runs wrote.

    ``keep`` is the caller's own note whether anybody needs the file after this run.
    """

    def __init__(self, path: Path, question: Question) -> None:
        """Opens or begins the journal of ``question`` at ``path``; raises InputError."""
        self.path = path
        self.keep = True
        header = _line({"azreach-matrix": VERSION, "question": question.digest(), "flows": question.count})
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        try:
            self._claim()
            done, self._size = read_journal(path, self._contents(), header)
            self.done: Mapping[Flow, FlowResult] = done
            os.ftruncate(self._fd, self._size)
            if not self._size:
                self._write(header)
            self._bare = len(header)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, results: Iterable[FlowResult]) -> None:
        """Writes results down; when it returns, a kill -9 does not lose them. Raises JournalError."""
        self._write(b"".join(map(_line_of, results)))

    @property
    def has_results(self) -> bool:
        return self._size > self._bare

    def remove(self) -> None:
        """For a journal that nobody needs any more."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise InputError(f"{self.path}: a journal must be a regular file")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return  # a file system without locks
            raise InputError(
                f"{self.path}: another run is writing it", hint="wait for it, or give this one another file"
            ) from error

    def _contents(self) -> bytes:
        with open(self._fd, "rb", closefd=False) as file:
            return file.read()

    def _write(self, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._size + written)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise JournalError(
                f"{self.path}: {error.strerror or error}; the results so far are safe in it",
                hint=f"make room, then go on with the same command and --resume {self.path}",
            ) from error
        self._size += len(data)


def read_journal(path: Path, data: bytes, header: bytes) -> tuple[dict[Flow, FlowResult], int]:
    """The results in a journal's ``data``, and how many bytes of it are whole.

    Raises InputError for a file that is no journal, another matrix's, or damaged before its end.
    """
    whole = data.rfind(b"\n") + 1
    if not whole:
        if header.startswith(data):
            return {}, 0
        raise InputError(f"{path}: not the journal of a matrix", hint="give a new file, or the right one")
    first, *lines = data[: whole - 1].split(b"\n")
    _check_header(path, first, header)
    found: dict[Flow, FlowResult] = {}
    for number, line in enumerate(lines, 2):
        try:
            row = _ROWS.validate_json(line)
        except ValidationError as error:
            raise InputError(
                f"{path}:{number}: this line is damaged", hint="remove it; its flow is asked again"
            ) from error
        flow = Flow(row.source, row.target, row.protocol, row.port, row.family)
        found[flow] = FlowResult(flow, row.address, row.outcome, row.started, row.rtt_ms, row.detail)
    return found, whole


def _check_header(path: Path, line: bytes, header: bytes) -> None:
    if line + b"\n" == header:
        return
    if not line.startswith(_START):
        raise InputError(f"{path}: not the journal of a matrix", hint="give a new file, or the right one")
    raise InputError(
        f"{path}: the journal of another matrix",
        hint="give the same --from, --to, --ports and --icmp as then, or another file",
    )


def _line(row: Mapping[str, object]) -> bytes:
    # ASCII only: no character of a name can end a line or be half written
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def _line_of(result: FlowResult) -> bytes:
    flow = result.flow
    row = {
        "source": flow.source,
        "target": flow.target,
        "protocol": flow.protocol.value,
        "port": flow.port,
        "family": flow.family,
        "address": result.address,
        "outcome": result.outcome.value,
        "rtt_ms": result.rtt_ms,
        "detail": result.detail,
        "started": result.started,
    }
    return _line({name: value for name, value in row.items() if value not in (None, "")})
