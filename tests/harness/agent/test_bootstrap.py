"""The start command must survive every login shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from harness.agent.bootstrap import arguments, start


def test_the_loader_needs_no_quoting_beyond_single_quotes() -> None:
    loader = arguments()[-1]
    assert not set("'!$`\n") & set(loader)
    assert len(start().command) < 1000


def test_every_start_has_a_token_of_its_own() -> None:
    assert start().ready != start().ready


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh", "csh", "busybox"])
def test_login_shells(shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} on this machine")
    begun = start()
    command = [path, "sh", "-c"] if shell == "busybox" else [path, "-c"]
    quit_request = b'{"id": 1, "op": "quit"}\n'
    done = subprocess.run(
        [*command, begun.command], input=begun.preamble + quit_request, capture_output=True, check=True
    )
    assert begun.ready.encode() in done.stdout
    assert b'{"id":1,"ok":true,"result":{}}' in done.stdout
