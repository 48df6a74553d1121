"""``azreach matrix --predict`` as a user types it: formats, files, exit statuses, wrong use."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.commands.matrix import FORMATS, LIVE_ONLY, PREDICT_ONLY, matrix
from harness.errors import InputError, UnknownNameError
from harness.predict.run import Format
from tests.harness.network.builders import machine, nsg, peering, rule, vnet
from tests.harness.network.terraform_documents import configuration, named, plan, ref
from tests.harness.predict.networks import tiers


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "tiers.json"
    path.write_text(json.dumps({"resources": tiers()}), encoding="utf-8")
    return path


def run(snapshot: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(matrix, ["--predict", str(snapshot), *map(str, arguments)])


def refusal(snapshot: Path, *arguments: str | Path) -> str:
    found = run(snapshot, *arguments)
    assert isinstance(found.exception, InputError)
    assert found.exception.exit_status == 2
    return str(found.exception)


def test_the_table_by_classes(snapshot: Path) -> None:
    found = run(snapshot, "--port", "443", "--ports", "1433/tcp,53/udp")
    assert found.exit_code == 0
    assert "app-01..app-02, fw 10.1.2.100 (3)  prod/app, nsg-app\n" in found.stdout
    assert "  -> db-01..db-02 (2)                   prod/db, nsg-db    tcp/1433\n" in found.stdout
    assert found.stdout.splitlines()[-1].startswith("IPv4: 11 addresses in ")


def test_pairs(snapshot: Path) -> None:
    found = run(snapshot, "--from", "web-01", "--to", "app-*", "--icmp")
    assert found.stdout.splitlines() == [
        "web-01  prod/web, nsg-web",
        "  -> app-01  prod/app, nsg-app  icmp",
        "  -> app-02  prod/app, nsg-app  icmp",
        "",
        "IPv4: 11 addresses; something passes between 2 of 2 pairs",
    ]


def test_csv_on_standard_output(snapshot: Path) -> None:
    found = run(snapshot, "--from", "app-01", "--to", "10.1.3.0/24", "--format", "CSV")
    assert found.stdout.splitlines() == [
        "source,source_address,target,target_address,protocol,first_port,last_port",
        "app-01,10.1.2.4,db-01,10.1.3.4,tcp,1433,1433",
        "app-01,10.1.2.4,db-02,10.1.3.5,tcp,1433,1433",
    ]


def test_json(snapshot: Path) -> None:
    document = json.loads(run(snapshot, "--json", "--port", "1433").stdout)
    assert (document["snapshot"], document["asked"]) == ("tiers.json", "tcp/1433")
    of = {item["address"]: item["class"] for item in document["members"]}
    assert {
        "source_class": of["10.1.2.4"], "target_class": of["10.1.3.4"],
        "protocol": "tcp", "first_port": 1433, "last_port": 1433,
    } in document["rows"]  # fmt: skip
    pairs = json.loads(run(snapshot, "--json", "--from", "app-01", "--to", "db-01").stdout)
    assert "members" not in pairs
    assert [row["target"] for row in pairs["rows"]] == ["db-01"]


def test_files_by_their_endings(snapshot: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    for name in ("a.csv", "a.parquet", "a.json", "a.txt", "a.png", "a.svg"):
        found = run(snapshot, "--output", tmp_path / name)
        assert (found.exit_code, found.stdout) == (0, "")
        assert str(tmp_path / name) in found.stderr
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == parquet.read_table(tmp_path / "a.parquet").num_rows > 20
    assert len((tmp_path / "a.members.csv").read_text().splitlines()) == 12
    assert parquet.read_table(tmp_path / "a.members.parquet").num_rows == 11
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.txt").read_text() == run(snapshot).stdout
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(run(snapshot, "--json").stdout)
    assert not list(tmp_path.glob(".*"))


def test_pairs_need_no_members_file(snapshot: Path, tmp_path: Path) -> None:
    run(snapshot, "--from", "*", "--output", tmp_path / "a.csv")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.csv", "tiers.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "csv"], "csv by classes is two files"),
        (["--output", "/dev/null", "--format", "csv"], "csv by classes is two files"),
        (["--format", "png"], "--format png is for a file"),
        (["--format", "parquet", "--from", "*"], "--format parquet is for a file"),
        (["--output", "x.pdf"], "x.pdf: its ending names no format"),
        (["--output", "nowhere/x.csv"], "nowhere/x.csv: there is no directory"),
        (["--json", "--format", "csv"], "--json and --format csv exclude each other"),
        (["--family", "6"], "the network has no IPv6 address"),
        (["--ports", "x"], "'x' is no port"),
        (["--csv", "x.csv"], "--csv does not go with --predict\n  write --output FILE.csv"),
        (["--expect"], "--expect does not go with --predict"),
        (["--service-tags", "nowhere.json"], "nowhere.json"),
    ],
)
def test_wrong_use(snapshot: Path, arguments: list[str], message: str) -> None:
    assert message in refusal(snapshot, *arguments)


def test_assumptions_reach_the_engine(tmp_path: Path) -> None:
    """A closed peering leaves what a custom rule names by address, or nothing."""
    path = tmp_path / "peers.json"
    resources = [
        vnet("a", "10.0.0.0/16", {"s": "10.0.0.0/24"}, [peering("a", "b", "10.1.0.0/16", access=False)],
             nsgs={"s": "out"}),
        vnet("b", "10.1.0.0/16", {"s": "10.1.0.0/24"}, [peering("b", "a", "10.0.0.0/16", access=False)],
             nsgs={"s": "in"}),
        nsg("out", rule("there", 100, "Allow", "Outbound", destination="10.1.0.0/16")),
        nsg("in", rule("here", 100, "Allow", source="10.0.0.0/16")),
        *machine("one", "a/s", "10.0.0.4"),
        *machine("two", "b/s", "10.1.0.4"),
    ]  # fmt: skip
    path.write_text(json.dumps({"resources": resources}), encoding="utf-8")
    ask = ("--from", "one", "--to", "two", "--ports", "22")
    assert "-> two" in run(path, *ask).stdout
    assert "-> two" not in run(path, *ask, "--assume", "peering-access=no-traffic").stdout
    assert run(path, *ask, "--assume", "x=y").exit_code == 2


def test_what_a_plan_leaves_open_goes_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = plan(
        named("azurerm_virtual_network", "v", address_space=["10.0.0.0/16"]),
        named(
            "azurerm_subnet", "s",
            virtual_network_name=ref("azurerm_virtual_network.v.name"), address_prefixes=["10.0.0.0/24"],
        ),
        named(
            "azurerm_network_interface", "n",
            ip_configuration=[configuration(ref("azurerm_subnet.s.id"), "10.0.0.4")],
        ),
    )  # fmt: skip
    path.write_text(json.dumps(document | {"complete": False}), encoding="utf-8")
    found = run(path, "--json")
    assert json.loads(found.stdout)["members"]
    assert f"note: {path}: the plan covers a part of the configuration only" in found.stderr


def test_a_name_that_nothing_has(snapshot: Path) -> None:
    found = run(snapshot, "--to", "wbe-01")
    assert isinstance(found.exception, UnknownNameError)


def test_options_of_the_prediction_need_a_snapshot() -> None:
    found = CliRunner().invoke(matrix, ["--output", "x.csv"])
    assert isinstance(found.exception, InputError)
    assert "--output goes with --predict only" in str(found.exception)


def test_every_option_has_its_mode() -> None:
    names = {parameter.name for parameter in matrix.params}
    assert set(LIVE_ONLY) | set(PREDICT_ONLY) <= names
    assert names - set(LIVE_ONLY) - set(PREDICT_ONLY) == {
        "snapshot", "sources", "targets", "ports", "icmp", "as_json",
    }  # fmt: skip
    assert tuple(Format) == FORMATS


@pytest.mark.parametrize(("module", "name"), [("pyarrow", "x.parquet"), ("matplotlib", "x.png")])
def test_a_missing_extra_is_named(snapshot: Path, tmp_path: Path, module: str, name: str) -> None:
    """In a process of its own, where the library cannot be imported."""
    code = f"import sys; sys.modules['{module}'] = None; from harness.cli import main; main()"
    arguments = ["matrix", "--predict", str(snapshot), "--output", str(tmp_path / name)]
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert "pip install 'azreach[reports]'" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / name).exists()
