"""The environment file: what it accepts, and the place that every refusal names."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.environment import Environment, Expectation, SecretRef, load_environment
from harness.errors import InputError, UnknownNameError
from harness.model import Protocol

GOOD = """\
allow_disruptive: false
azure:
  snapshot: network.json
machines:
  web-01:
    ssh: {host: 10.0.1.4, user: azureuser, key_file: keys/id, known_hosts: known_hosts}
  web-02:
    ssh: {host: web-02, user: azureuser, jump: web-01, password: {env: PW}}
  db-01:
    arm_id: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/db-01
    services: [{port: 1433}]
    ssh: {host: db, user: azureuser, proxy_command: [nc, db, "22"]}
flows:
  - {from: "web-*", to: db-01, port: 1433}
  - {from: web-01, to: db-01, port: 22, expect: deny, because: nsg-udr}
  - {from: web-01, to: "*", protocol: icmp}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "env.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file(tmp_path: Path) -> None:
    environment = load_environment(write(tmp_path, GOOD))
    flows = environment.expected_flows()
    assert [str(item.flow) for item in flows] == [
        "web-01 -> db-01:1433/tcp",
        "web-02 -> db-01:1433/tcp",
        "web-01 -> db-01:22/tcp",
        "web-01 -> web-02/icmp",
        "web-01 -> db-01/icmp",
    ]
    assert (flows[2].expect, flows[2].because) == (Expectation.DENY, "nsg-udr")
    # paths are relative to the file, not to the folder in which the command runs
    assert environment.azure.snapshot == tmp_path / "network.json"
    assert environment.machine("web-01").ssh.key_file == tmp_path / "keys/id"
    assert environment.machine("db-01").services[0].protocol is Protocol.TCP


BAD = {
    "unknown key": ("user: azureuser, key_file", "usr: x, user: azureuser, key_file", 6, "usr: unknown key"),
    "secret in clear": ("{env: PW}", "hunter2", 8, "must not stand in this file"),
    "two references": ("{env: PW}", "{env: PW, file: x}", 8, "exactly one of"),
    "port out of range": ("port: 22", "port: 70000", 15, "less than or equal to 65535"),
    "tcp without port": ("port: 22, ", "", 15, "need a 'port'"),
    "name that matches nothing": ("to: db-01, port: 1433", "to: db-99, port: 1433", 14, "matches no machine"),
    "unknown cause": ("because: nsg-udr", "because: gremlins", 15, "no step and no cause"),
    "two ways in": ("jump: web-01", "jump: web-01, proxy_command: [x]", 8, "exclude each other"),
    "own jump host": ("jump: web-01", "jump: web-02", 8, "machines.web-02.ssh.jump: a machine cannot be its"),
    "jump hosts in a circle": (
        'proxy_command: [nc, db, "22"]}',
        "jump: app-01}\n  app-01:\n    ssh: {host: a, user: u, jump: app-02}\n"
        "  app-02:\n    ssh: {host: b, user: u, jump: app-01}",
        14,
        "machines.app-01.ssh.jump: the jump hosts form a circle: app-01 -> app-02 -> app-01",
    ),
    "key twice": (
        "allow_disruptive: false",
        "allow_disruptive: false\nallow_disruptive: true",
        2,
        "stands twice",
    ),
    "not YAML": ("azure:", "azure: [", 3, ""),
    "no machines": ("machines:", "machinery:", 4, "unknown key"),
}


@pytest.mark.parametrize(("old", "new", "line", "says"), BAD.values(), ids=BAD.keys())
def test_a_refusal_names_file_and_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_environment(path)
    assert any(text.startswith(f"{path}:{line}:") or says == "" for text in str(caught.value).splitlines()), (
        caught.value
    )
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"- a", b"a: &x [*x]", b"[" * 5000, b"a: !!python/object:os.system x"]
)
def test_unreadable_content_is_one_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "env.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"env\.yaml"):
        load_environment(path)


def test_a_missing_file_and_a_folder_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_environment(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="directory"):
        load_environment(tmp_path)


@settings(max_examples=3500)
@given(st.data())
def test_a_mutilated_file_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(GOOD) - 1))
    length = data.draw(st.integers(0, 30))
    insert = data.draw(st.text(alphabet="{}[]:,&*!|>-\"'# \n\tabz019\x1b\u202e", max_size=8))
    path = tmp_path_factory.getbasetemp() / "mutilated.yaml"
    path.write_text(GOOD[:start] + insert + GOOD[start + length :], encoding="utf-8")
    with contextlib.suppress(InputError):
        assert isinstance(load_environment(path), Environment)


def test_a_secret_is_read_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZREACH_TEST_SECRET", raising=False)
    reference = SecretRef(env="AZREACH_TEST_SECRET")
    with pytest.raises(InputError, match="AZREACH_TEST_SECRET is not set"):
        reference.resolve()
    monkeypatch.setenv("AZREACH_TEST_SECRET", "s3cret")
    assert reference.resolve() == "s3cret"
    assert "s3cret" not in repr(reference)
    (tmp_path / "pw").write_text("from-file\n")
    assert SecretRef(file=tmp_path / "pw").resolve() == "from-file"


def test_an_unknown_machine_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="web-01, web-02, db-01"):
        load_environment(write(tmp_path, GOOD)).machine("db-99")
