"""Waiting for files to be written, by inotify(7): how a program that says nothing tells it is ready."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

_IN_CLOSE_WRITE = 0x8
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


class Inotify:
    """Tells of files that were written and closed, in any number of directories."""

    def __init__(self) -> None:
        self._fd = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")

    def fileno(self) -> int:
        """Readable when :meth:`written` has something to tell."""
        return self._fd

    def watch(self, directory: str) -> int:
        """The number by which events of that directory are known; raises OSError."""
        result = _libc.inotify_add_watch(self._fd, os.fsencode(directory), _IN_CLOSE_WRITE)
        return _checked(result, directory)

    def written(self) -> Iterator[tuple[int, str]]:
        """(Number of the directory, file name) of what was written since; does not wait."""
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            number, _, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            yield number, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
