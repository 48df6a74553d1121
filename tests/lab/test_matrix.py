"""``azreach matrix`` in a lab, reached like any environment: every pair, interrupted, gone on with."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.matrix.document import MatrixDocument
from harness.model import Protocol
from lab.client import Lab, Service
from tests.lab.conftest import eventually

pytestmark = pytest.mark.lab

COMMAND = (sys.executable, "-m", "harness", "matrix")


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where journals that nobody named lie."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "azreach"


def run(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*prefix, *COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def outcomes(text: str) -> dict[str, str]:
    """``web-01 db-01 1433/tcp`` -> outcome."""
    return {
        f"{row.source} {row.target} {row.port or 'icmp'}": row.outcome
        for row in MatrixDocument.model_validate_json(text).flows
    }


def test_every_pair(three_tier: Lab, tmp_path: Path, state_home: Path) -> None:
    """The services and declared flows of every target, from everywhere; the NSGs decide."""
    file = tmp_path / "flows.csv"
    done = run("--lab", three_tier.name, "--timeout", "0.5", "--json", "--csv", str(file))
    assert (done.returncode, done.stderr) == (1, "")
    found = outcomes(done.stdout)
    assert len(found) == 3 * (
        2 + 2 + 1 + 4
    )  # web-01, web-02, app-01: 80, 443; 8080; db-01: 1433, 53, 22, icmp
    assert {found[f"{source} db-01 1433"] for source in ("web-01", "web-02", "app-01")} == {"connected"}
    assert {found[f"{source} db-01 53"] for source in ("web-01", "web-02", "app-01")} == {"delivered"}
    assert {found[f"{source} db-01 icmp"] for source in ("web-01", "web-02", "app-01")} == {"connected"}
    assert {found[f"{source} db-01 22"] for source in ("web-01", "web-02", "app-01")} == {"timeout"}
    assert {found["web-01 app-01 8080"], found["web-02 app-01 8080"]} == {"connected"}
    assert found["db-01 app-01 8080"] == "timeout"
    assert {found["web-01 web-02 80"], found["db-01 web-01 443"]} == {"connected"}
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {f"{r['from']} {r['to']} {r['port'] or 'icmp'}": r["outcome"] for r in rows} == found
    assert list(state_home.iterdir()) == []


def test_a_table_without_a_terminal_is_plain(three_tier: Lab) -> None:
    words = ("--lab", three_tier.name, "--from", "web-*", "--to", "db-01", "--ports", "1433,22,53/udp")
    done = run(*words, "--timeout", "0.3")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[1:3] == ["  web-01  ▄▄", "  web-02  ▄▄"]
    assert "1 db-01" in lines
    assert lines[-1].startswith("6 flows in ")
    assert lines[-1].endswith(": 2 connected, 2 delivered, 2 timeout")
    assert "\x1b" not in done.stdout
    good = run("--lab", three_tier.name, "--from", "web-*", "--to", "db-01", "--ports", "1433")
    assert (good.returncode, "█ all open" in good.stdout) == (0, True)


def test_unanswered_datagrams_are_unconfirmed(three_tier: Lab) -> None:
    words = ("--lab", three_tier.name, "--from", "web-01", "--to", "db-01", "--ports", "5353/udp")
    done = run(*words, "--timeout", "0.3", "--json")
    assert (done.returncode, outcomes(done.stdout)) == (3, {"web-01 db-01 5353": "unconfirmed"})


@pytest.fixture
def without_app(three_tier: Lab) -> Iterator[Lab]:
    """Nothing listens on app-01:8080."""
    service = Service(Protocol.TCP, 8080)
    three_tier.stop_service("app-01", service)
    yield three_tier
    three_tier.start_service("app-01", service)


def test_expectations(three_tier: Lab) -> None:
    done = run("--lab", three_tier.name, "--timeout", "0.5", "--expect")
    assert done.returncode == 0, done.stdout
    assert "declared flows: 11 as expected, 0 contradicted, 0 undecided; 16 asked" in done.stdout


def test_contradictions(without_app: Lab) -> None:
    words = ("--lab", without_app.name, "--from", "web-*", "--timeout", "0.5", "--expect")
    done = run(*words)
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("contradicted")]
    assert told == [
        f"contradicted  {web} -> app-01:8080/tcp: expect allow, refused: it does not get through"
        for web in ("web-01", "web-02")
    ]
    expectation = json.loads(run(*words, "--json").stdout)["expectation"]
    assert [row["from"] for row in expectation["contradictions"]] == ["web-01", "web-02"]


ASKED = ("--ports", "80,81,443", "--timeout", "0.3")
FLOWS = 4 * 3 * 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_broken_run_goes_on(three_tier: Lab, tmp_path: Path, how: signal.Signals) -> None:
    journal = tmp_path / "journal"
    words = ("--lab", three_tier.name, *ASKED, "--resume", str(journal), "--json")
    slow = [*COMMAND, *words, "--rate", "4", "--parallel", "2"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(
                lambda: journal.exists() and journal.read_bytes().count(b"\n") > 3, "no result is written"
            )
            process.send_signal(how)
            output, errors = process.communicate()
        finally:
            process.kill()
    assert output == ""
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert errors.startswith("azreach: interrupted; the results so far are kept\n")
        assert f"--resume {journal}" in errors
    before = journal.read_bytes()
    known = before.count(b"\n") - 1
    assert 2 < known < FLOWS
    # the machine dies while a line is being written
    journal.write_bytes(before[:-9])
    done = run(*words)
    assert (done.returncode, done.stderr) == (1, "")
    assert len(outcomes(done.stdout)) == FLOWS
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + FLOWS
    assert b"".join(lines).startswith(before[: before[:-9].rfind(b"\n") + 1])
    again = run(*words)
    assert again.stdout == done.stdout


def test_a_full_disk_is_one_message_and_a_whole_journal(three_tier: Lab, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    words = ("--lab", three_tier.name, *ASKED, "--resume", str(journal))
    done = run(*words, prefix=("prlimit", "--fsize=3000"))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"azreach: {journal}: File too large; the results so far are safe in it" in done.stderr
    assert 1000 < len(journal.read_bytes()) <= 3000
    assert journal.read_bytes().endswith(b"}\n")
    assert run(*words).returncode == 1
    assert journal.read_bytes().count(b"\n") == 1 + FLOWS


def test_a_csv_that_cannot_be_written_loses_no_result(three_tier: Lab, state_home: Path) -> None:
    words = ("--lab", three_tier.name, "--from", "web-01", "--to", "db-01", "--ports", "1433")
    done = run(*words, "--csv", "/dev/full")
    assert (done.returncode, done.stdout) == (2, "")
    assert "azreach: /dev/full: No space left on device" in done.stderr
    (journal,) = state_home.iterdir()
    assert f"--resume {journal} asks only for what is missing" in done.stderr
    assert run(*words, "--resume", str(journal)).returncode == 0


def test_an_unreachable_machine_marks_its_row(three_tier: Lab, tmp_path: Path, state_home: Path) -> None:
    text = three_tier.environment_path.read_text()
    at = text.index("sshd_config.", text.index('"web-02":'))
    path = tmp_path / "env.yaml"
    path.write_text(text[:at] + "gone." + text[at:])
    words = ("--env", str(path), "--from", "web-*", "--to", "db-01", "--ports", "1433")
    done = run(*words)
    assert done.returncode == 3
    rows = done.stdout.splitlines()
    assert rows[1] == "  web-01  ██"
    assert rows[2].startswith("  web-02  --  unreachable: ")
    assert "2 flows in" in rows[-1]
    assert rows[-1].endswith("1 connected, 1 not asked")
    # what is left can be asked when the machine is back
    (journal,) = state_home.iterdir()
    assert f"--resume {journal}" in done.stderr
    healed = run("--lab", three_tier.name, *words[2:], "--resume", str(journal))
    assert healed.returncode == 0


WRONG_USE = {
    "no machine": (["--from", "nobody-*"], "matches no machine"),
    "no port": (["--ports", "http"], "'http' is no port"),
    "nothing": (["--from", "db-01", "--to", "db-01"], "nothing to ask"),
    "nothing declared": (["--ports", "9999", "--expect"], "declares none of the flows"),
    "no journal": (["--resume", "/etc/hostname"], "not the journal of a matrix"),
    "no CSV": (["--csv", "/no/such/folder/flows.csv"], "there is no directory"),
    "no rate": (["--rate", "0"], "--rate"),
}


@pytest.mark.parametrize(("words", "says"), WRONG_USE.values(), ids=WRONG_USE.keys())
def test_wrong_use_is_status_2_and_one_message(three_tier: Lab, words: list[str], says: str) -> None:
    done = run("--lab", three_tier.name, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_targets_without_an_address_are_not_asked(three_tier: Lab) -> None:
    done = run("--lab", three_tier.name, "--from", "web-01", "--to", "db-01", "--ports", "22", "--ipv6")
    assert done.returncode == 3
    assert "not asked (1): db-01: no IPv6 address is known" in done.stdout
