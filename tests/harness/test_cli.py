"""The command as a whole: quick help, exit statuses, no tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.model import Cause


def azreach(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, check=False, **settings)  # type: ignore[call-overload,no-any-return]


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'paramiko', 'pydantic', 'yaml', 'rich', 'scapy', 'azure', 'cryptography'}"
    program = (
        "import sys, contextlib\nfrom harness.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        f"print('HEAVY', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("HEAVY []\n"), done.stdout
    for command in ("causes", "diagnose", "explain", "lab", "probe"):
        assert f"\n  {command} " in done.stdout


def test_causes() -> None:
    listed = azreach("causes")
    assert listed.returncode == 0
    for cause in Cause:
        assert cause.value in listed.stdout
    rows = json.loads(azreach("causes", "--json").stdout)
    assert {row["cause"] for row in rows} == {cause.value for cause in Cause}
    one = azreach("causes", "route-to-none").stdout
    assert "az network route-table route delete" in one
    assert azreach("causes", "share").stdout.strip().endswith("no cause of this step is diagnosed yet")
    wrong = azreach("causes", "gremlins")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no cause 'gremlins'" in wrong.stderr


@pytest.mark.parametrize("words", [["frobnicate"], ["--frobnicate"], ["diagnose"], ["probe", "a"]])
def test_wrong_use_is_status_2(words: list[str]) -> None:
    done = azreach(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "causes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this machine")
def test_a_full_disk_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        done = azreach("causes", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "azreach: the output: No space left on device\n"


def test_version() -> None:
    assert azreach("--version").stdout.startswith("azreach ")
