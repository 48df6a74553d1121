"""Raises a lab: forks the applier, reads the lab file while it gets ready, hands it over, waits.

For a process with one thread that is about to end (``azreach lab up``); others use
:func:`lab.client.raise_lab`, which runs that command.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from harness.errors import InputError
from lab import applier, requirements, state
from lab.applier import Channel
from lab.errors import LabError
from lab.state import LabDirectory
from lab.topologies import source_path

Progress = Callable[[str, int, int], None]


def raise_here(
    source: str, name: str | None, owner: int | None, progress: Progress, note: Callable[[str], None]
) -> LabDirectory:
    """The directory of a lab that stands; raises AzreachError, and then leaves nothing behind."""
    path = source_path(source)
    requirements.check()
    owner_fd = None if owner is None else _watch(owner)
    directory, pid = None, 0
    # an interruption waits until there is something that can be cleaned up, and then until it is
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        directory = state.claim(name or state.name_for(path), str(source))
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            ours.close()
            applier.run(theirs, directory, str(source), owner_fd)
        theirs.close()
        state.write_first_record(directory, str(source), pid)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        channel = Channel(ours)
        if os.geteuid() != 0:
            _map_ids(channel)
        _hand_over(channel, path, note)
        _await(channel, directory, progress, note)
    except BaseException:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if pid:
            # wherever the applier is just now: its VMs die with it
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if directory is not None:
            state.remove(directory)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return directory


def _watch(owner: int) -> int:
    try:
        return os.pidfd_open(owner)
    except OSError as error:
        raise InputError(f"--owner {owner}: {error.strerror}") from None


def _map_ids(channel: Channel) -> None:
    message = channel.receive()
    if "error" in message:
        raise LabError(message["error"], hint=message["hint"])
    from lab import userns

    userns.map_ids(message["map_ids_of"])
    channel.send({"mapped": True})


def _hand_over(channel: Channel, path: Path, note: Callable[[str], None]) -> None:
    # imported now, when the applier is on its way on another core
    from lab.content import load_content

    content = load_content(path)
    # here, since without root the applier does not see the machine's own settings
    from lab import neighbours

    if os.geteuid() != 0 and (text := neighbours.shortage(content.vm_count)):
        note(text)
    try:
        channel.send({"content": content.to_json()})
    except BrokenPipeError:
        # it ended early; what it says of that comes next
        return


def _await(
    channel: Channel, directory: LabDirectory, progress: Progress, note: Callable[[str], None]
) -> None:
    while True:
        try:
            message = channel.receive()
        except (EOFError, ConnectionError):
            raise LabError(f"the lab's applier ended unexpectedly: {_last_words(directory)}") from None
        if "error" in message:
            raise LabError(message["error"], hint=message["hint"])
        if "ready" in message:
            return
        if "note" in message:
            note(message["note"])
        else:
            progress(message["progress"], message["done"], message["total"])


def _last_words(directory: LabDirectory) -> str:
    try:
        lines = directory.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it left no word"
