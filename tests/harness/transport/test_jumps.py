"""The way to a machine: jump hosts first, each with the log-in that it has."""

from __future__ import annotations

from typing import Any

import pytest

from harness.environment import Environment, Machine, Ssh
from harness.errors import InputError, UnknownNameError
from harness.transport.jumps import Hop, way


def environment(**jumps: str | None) -> Environment:
    machines: dict[str, Any] = {
        name: {"ssh": {"host": f"{name}.example", "user": "u", "key_file": name, "jump": jump}}
        for name, jump in jumps.items()
    }
    return Environment.model_validate({"machines": machines})


def test_jump_hosts_come_first() -> None:
    one = environment(inmost="inner", inner="bastion", bastion=None)
    assert [hop.name for hop in way(one, "inmost")] == ["bastion", "inner", "inmost"]
    assert way(one, "bastion") == (Hop("bastion", one.machine("bastion").ssh),)


def test_a_jump_host_is_one_log_in_whoever_is_behind_it() -> None:
    one = environment(a="gate", b="gate", gate=None)
    assert len({way(one, name)[0] for name in ("a", "b", "gate")}) == 1


@pytest.mark.parametrize(
    ("jump", "user", "host", "port"),
    [
        ("me@gate", "me", "gate", 22),
        ("me@gate:2222", "me", "gate", 2222),
        ("me@[fd77::1]:2222", "me", "fd77::1", 2222),
        ("me@[fd77::1]", "me", "fd77::1", 22),
        ("me@fd77::1", "me", "fd77::1", 22),
        ("me@corp@gate", "me@corp", "gate", 22),
    ],
)
def test_an_ad_hoc_jump_host_has_the_keys_of_who_is_behind(
    jump: str, user: str, host: str, port: int
) -> None:
    one = environment(a=jump, b=jump)
    gate, _ = way(one, "a")
    assert (gate.name, gate.ssh.user, gate.ssh.host, gate.ssh.port) == (jump, user, host, port)
    assert gate.ssh.key_file == one.machine("a").ssh.key_file
    # With other keys it is another log-in, and its refusal another refusal.
    assert way(one, "b")[0] != gate


@pytest.mark.parametrize("jump", ["gate", "@gate", "me@", "me@gate:0", "me@gate:65536", "me@gate:ssh"])
def test_a_jump_that_leads_nowhere_names_the_machine_that_has_it(jump: str) -> None:
    with pytest.raises(InputError, match=r"machines\.b\.ssh\.jump: '.*' is neither a machine"):
        way(environment(a="b", b=jump), "a")


def test_unknown_names_and_circles_are_refused() -> None:
    with pytest.raises(UnknownNameError):
        way(environment(a=None), "b")
    machines = {name: Machine(ssh=Ssh(host=name, user="u", jump=to)) for name, to in ("ab", "bc", "cb")}
    with pytest.raises(InputError, match="a: the jump hosts form a circle: a -> b -> c -> b"):
        way(Environment.model_construct(machines=machines), "a")
