"""The environment file: machines, how to reach them, the flows and what is expected of them.

A live environment and the local lab use exactly the same kind of file; nothing here or
behind it knows which of the two it is. Secrets stand in it only by reference (an
environment variable or a file). Not for connecting (``harness.transport``).
"""

from __future__ import annotations

import fnmatch
import os
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.errors import InputError, UnknownNameError
from harness.model import Cause, Flow, ProbedProtocol, Protocol, Step
from harness.yamlfile import PlacedError, load_model, read_text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _from_directory(path: Path, info: ValidationInfo) -> Path:
    """Paths are relative to the environment file; ``~`` is the user's home."""
    base: Path = (info.context or {}).get("directory", Path.cwd())
    return base / path.expanduser()


FilePath = Annotated[Path, AfterValidator(_from_directory)]


def _address(text: str) -> str:
    return str(ip_address(text))


Address = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]


class SecretRef(_Strict):
    """A secret by reference: the name of an environment variable, or a file that holds it."""

    env: str | None = None
    file: FilePath | None = None

    @model_validator(mode="before")
    @classmethod
    def _never_in_clear(cls, data: Any) -> Any:
        if isinstance(data, str | int | float):
            raise ValueError("a secret must not stand in this file; write {env: NAME} or {file: PATH}")
        return data

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of 'env' and 'file'")
        return self

    def resolve(self) -> str:
        """The secret itself; raises InputError that names the reference, never the secret."""
        if self.env is not None:
            try:
                return os.environ[self.env]
            except KeyError:
                raise InputError(f"the environment variable {self.env} is not set") from None
        assert self.file is not None
        return read_text(self.file).rstrip("\r\n")


class Ssh(_Strict):
    """How to log in by SSH. With neither key_file nor password, the SSH agent is asked."""

    host: str
    port: Port = 22
    user: str
    key_file: FilePath | None = None
    key_passphrase: SecretRef | None = None
    password: SecretRef | None = None
    known_hosts: FilePath | None = None
    """Default: ~/.ssh/known_hosts. A key that is not in it is refused."""
    host_key_alias: str | None = None
    """The name under which known_hosts has the key, where that is not ``host``."""
    jump: str | None = None
    """Another machine of this file, or user@host[:port], through which to connect."""
    proxy_command: tuple[str, ...] | None = None
    """A command (a list of words, no shell) whose standard input and output are the connection."""
    connect_timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds for each of: connection, host key exchange, log-in."""

    @field_validator("proxy_command", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("write a list of words, as no shell reads it: [ssh, -W, 'host:22', bastion]")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.jump is not None and self.proxy_command is not None:
            raise ValueError("'jump' and 'proxy_command' exclude each other")
        return self


class BecomeMethod(StrEnum):
    SUDO = "sudo"


class Become(_Strict):
    """How the agent becomes another user, once per session: ``become: sudo``, or with particulars."""

    method: BecomeMethod = BecomeMethod.SUDO
    user: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")] = "root"
    password: SecretRef | None = None
    """The log-in user's own password, where sudo asks for one."""
    required: bool = True
    """False: where it is not possible, go on as the log-in user."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"method": data} if isinstance(data, str) else data


class OperatingSystem(StrEnum):
    LINUX = "linux"


class Service(_Strict):
    """A service that this machine is meant to offer."""

    port: Port
    protocol: Protocol = Protocol.TCP


class Machine(_Strict):
    """One machine: its VM in ARM (``arm_id``) and its log-in."""

    ssh: Ssh
    become: Become | None = None
    """Default: the agent runs as the log-in user."""
    os: OperatingSystem = OperatingSystem.LINUX
    arm_id: str | None = None
    addresses: tuple[Address, ...] = ()
    """Data-plane addresses; default: those of its NICs in the snapshot, else what the guest has."""
    services: tuple[Service, ...] = ()


class Azure(_Strict):
    """Where Azure's side of the truth comes from."""

    snapshot: FilePath | None = None
    """A JSON file {"resources": [...]} of ARM resources as GET returns them."""
    endpoint: str = "https://management.azure.com"
    subscription: str | None = None


class Expectation(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


def _step_or_cause(text: str) -> str:
    known = {step.value for step in Step} | {cause.value for cause in Cause}
    if text not in known:
        raise ValueError(f"'{text}' is no step and no cause; see `azreach causes`")
    return text


StepOrCause = Annotated[str, AfterValidator(_step_or_cause)]


class FlowRule(_Strict):
    """Flows from every machine that ``from`` matches to every machine that ``to`` matches (globs)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    protocol: ProbedProtocol = Protocol.TCP
    port: Port | None = None
    family: Annotated[int, Field(strict=True)] | None = None
    expect: Expectation = Expectation.ALLOW
    because: StepOrCause | None = None
    """The step or cause that must block the flow; only with ``expect: deny``."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.port is None) != (self.protocol is Protocol.ICMP):
            raise ValueError("tcp and udp need a 'port', icmp has none")
        if self.family not in (None, 4, 6):
            raise ValueError("'family' is 4 or 6")
        if self.because is not None and self.expect is Expectation.ALLOW:
            raise ValueError("'because' goes with 'expect: deny'")
        return self


class ExpectedFlow(BaseModel):
    """One flow and what is expected of it, globs expanded."""

    model_config = ConfigDict(frozen=True)

    flow: Flow
    expect: Expectation
    because: str | None = None


class Environment(_Strict):
    """The whole file. ``path`` is where it was read from."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    allow_disruptive: bool = False
    azure: Azure = Azure()
    machines: Annotated[dict[str, Machine], Field(min_length=1)]
    flows: tuple[FlowRule, ...] = ()

    @model_validator(mode="after")
    def _names_match(self) -> Self:
        for number, rule in enumerate(self.flows):
            for side, pattern in (("from", rule.source), ("to", rule.target)):
                if not self.matching(pattern) and not (side == "to" and is_address(pattern)):
                    raise PlacedError(("flows", number, side), f"'{pattern}' matches no machine")
        for name, machine in self.machines.items():
            if machine.ssh.jump == name:
                raise PlacedError(("machines", name, "ssh", "jump"), "a machine cannot be its own jump host")
        self._refuse_circles()
        return self

    def _refuse_circles(self) -> None:
        """Names the first machine of the file whose jump hosts lead back to it."""
        ends: set[str] = set()  # whose way is known to end
        for start in self.machines:
            path: dict[str, None] = {}
            name: str | None = start
            while name in self.machines and name not in ends:
                if name in path:
                    names = list(path)
                    circle = names[names.index(name) :]
                    raise PlacedError(
                        ("machines", name, "ssh", "jump"),
                        f"the jump hosts form a circle: {' -> '.join((*circle, name))}",
                    )
                path[name] = None
                name = self.machines[name].ssh.jump
            ends.update(path)

    def matching(self, pattern: str) -> list[str]:
        """Names of machines that a name or glob matches, in the file's order."""
        if pattern in self.machines:
            return [pattern]
        return [name for name in self.machines if fnmatch.fnmatchcase(name, pattern)]

    def machine(self, name: str) -> Machine:
        """The machine of that name; raises UnknownNameError that lists the known ones."""
        try:
            return self.machines[name]
        except KeyError:
            known = ", ".join(list(self.machines)[:20])
            raise UnknownNameError(
                f"no machine '{name}' in the environment", hint=f"it has: {known}"
            ) from None

    def expected_flows(self) -> list[ExpectedFlow]:
        """Every declared flow, globs expanded, a machine to itself left out, in the file's order."""
        return [
            ExpectedFlow(
                flow=Flow(source, target, rule.protocol, rule.port, rule.family),
                expect=rule.expect,
                because=rule.because,
            )
            for rule in self.flows
            for source in self.matching(rule.source)
            for target in (self.matching(rule.target) or [rule.target])
            if source != target
        ]


def is_address(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def load_environment(path: Path) -> Environment:
    """The environment file at ``path``; raises InputError that names file, line and key."""
    return load_model(path, Environment)
