"""What tools/setup says where something is missing, and that it knows what the lab needs.

That it installs all of it on an empty machine is what .ci/run shows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import requirements

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "tools" / "setup"
NOBODY = 65534

# What the script itself uses; everything else is "not installed" for it.
_USED = (
    "sh",
    "cat",
    "cut",
    "dirname",
    "grep",
    "id",
    "mktemp",
    "rm",
    "sed",
    "sha256sum",
    "sort",
    "tr",
    "apt-get",
)


@pytest.fixture
def clone() -> Iterator[Path]:
    """A clone with a ``bin`` of its own, readable by everybody, as pytest's own directories are not."""
    home = Path(tempfile.mkdtemp(prefix="azreach-setup-"))
    home.chmod(0o777)
    (home / "bin").mkdir()
    for name in _USED:
        if path := shutil.which(name):
            (home / "bin" / name).symlink_to(path)
    (home / "bin" / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    for name in ("pyproject.toml", "requirements.lock", "tools/setup"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, home / name)
    yield home
    shutil.rmtree(home)


def run_setup(clone: Path) -> subprocess.CompletedProcess[str]:
    """Runs the clone's tools/setup as an ordinary user who has hardly any tool."""
    return subprocess.run(
        ["/bin/sh", str(clone / "tools" / "setup")],
        env={"PATH": str(clone / "bin"), "TMPDIR": str(clone)},
        user=NOBODY if os.geteuid() == 0 else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_ordinary_user_is_told_the_command(clone: Path) -> None:
    done = run_setup(clone)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("sudo ")]
    command, _, packages = line.partition(" --no-install-recommends ")
    assert command == "sudo apt-get install"
    # Their tools are in /usr/bin, which is not in the PATH of this run.
    assert {"catatonit", "iputils-ping", "openssh-client", "util-linux"} <= set(packages.split())
    assert packages.split() == sorted(set(packages.split()))
    assert done.returncode == 2
    assert not (clone / ".venv").exists()


def test_without_apt_the_packages_are_named(clone: Path) -> None:
    (clone / "bin" / "apt-get").unlink()
    done = run_setup(clone)
    assert done.returncode == 2
    assert "catatonit" in done.stderr
    assert "sudo apt-get" not in done.stderr


def test_it_leaves_no_file_behind(clone: Path) -> None:
    before = set(clone.rglob("*"))
    run_setup(clone)
    assert set(clone.rglob("*")) == before


def test_it_installs_all_that_the_lab_asks_for() -> None:
    known = dict(re.findall(r"([\w-]+):([\w.-]+)", SETUP.read_text(encoding="utf-8").split("say()")[0]))
    asked = {**requirements.PACKAGES, **requirements.ROOTLESS_PACKAGES}
    assert set(asked.values()) <= set(known.values()) | {"python3"}
    assert {name for name in requirements.PACKAGES if name != "python3"} <= set(known)
