"""Records a host key in known_hosts, once somebody has said that it is the right one.

Appends one line and changes none. Not for judging keys (:mod:`harness.transport.known_hosts`)
and never for a key that differs from a recorded one.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import AzreachError, HostKeyError, InputError
from harness.transport.known_hosts import ShownKey, Trust


def unknown_key(error: AzreachError) -> ShownKey | None:
    """The key that was refused for being unknown, of the machine itself or of a jump host before it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HostKeyError) and cause.shown is not None:
            return cause.shown if cause.shown.trust is Trust.UNKNOWN else None
        cause = cause.__cause__
    return None


def record(shown: ShownKey) -> Path:
    """Adds the key to the file that was asked; raises InputError where that cannot be written."""
    assert shown.trust is Trust.UNKNOWN
    path = shown.file.expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # one write at the end of the file: ssh and others may append at the same time
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            begin = b"" if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
            os.write(descriptor, begin + f"{shown.line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"{path}: the host key cannot be recorded: {error.strerror or error}") from error
    return path
