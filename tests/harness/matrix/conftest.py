"""One sshd of the tests' own, so that a run meets real log-ins and real agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.transport.sshd import Sshd, why_not


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Sshd:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    directory: Path = tmp_path_factory.mktemp("sshd")
    # The shell that sshd starts must be able to reach it, whoever it runs as.
    directory.chmod(0o755)
    return Sshd.make(directory)
