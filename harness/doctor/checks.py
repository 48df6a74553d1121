"""Judges one machine: facts in, one result per check out. Pure.

The checks rest on one another in the order of :class:`~harness.doctor.model.Check`; what a failure
makes impossible to tell is ``unknown``, never ``ok``.
"""

from __future__ import annotations

import errno
import shlex
import socket
from collections.abc import Iterator

from harness.agent.contract import Hello
from harness.doctor import cures
from harness.doctor.azure import check_azure
from harness.doctor.examine import Facts
from harness.doctor.model import ENVIRONMENT_FILE, HERE, Check, CheckResult, Cure, Status
from harness.doctor.references import Reference, parse_log_in
from harness.environment import Machine
from harness.errors import (
    AgentError,
    AuthenticationError,
    AzreachError,
    HostKeyError,
    InputError,
    TransportError,
)
from harness.network.model import Network
from harness.transport.become import PrivilegeError, Refusal

NEEDED_TOOLS = ("ss", "ip")
FILTERS = ("nft", "iptables-save")


def judge(
    name: str,
    machine: Machine,
    facts: Facts,
    *,
    references: tuple[Reference, ...] = (),
    network: Network | None = None,
) -> tuple[CheckResult, ...]:
    """One result for every check, in order."""
    if facts.failure is not None:
        found = {result.check: result for result in _failure(name, machine, facts.failure, references)}
    else:
        found = {check: _ok(check) for check in (Check.REACHABLE, Check.HOST_KEY, Check.LOG_IN)}
        found |= {result.check: result for result in _logged_in(name, machine, facts)}
    found[Check.AZURE] = check_azure(network, name, machine, facts.addresses)
    return tuple(found.get(check) or _unknown(check) for check in Check)


# what goes wrong before there is an agent


def _failure(
    name: str, machine: Machine, error: AzreachError, references: tuple[Reference, ...]
) -> Iterator[CheckResult]:
    summary = _said(name, error)
    if machine.ssh.jump is not None and isinstance(error.__cause__, TransportError):
        yield _failed(Check.REACHABLE, "no jump", summary, *_jump_cures(machine, error))
        return
    if isinstance(error, HostKeyError):
        yield from _host_key(name, machine, error, summary)
        return
    jump = next((item for item in references if item.location[-1] == "jump"), None)
    if jump is not None:
        yield _failed(Check.REACHABLE, "no jump", summary, jump.cure)
        return
    if _never_got_in(error):
        yield _failed(Check.REACHABLE, *_unreachable(machine, error, summary, name))
        return
    yield _ok(Check.REACHABLE)
    yield _ok(Check.HOST_KEY)
    if isinstance(error, PrivilegeError):
        yield _ok(Check.LOG_IN)
        yield _failed(Check.PRIVILEGE, "no sudo", summary, *_privilege_cures(name, machine, error))
    elif isinstance(error, AgentError):
        yield _ok(Check.LOG_IN)
        yield _no_agent(name, machine, error, summary)
    elif not any("ssh" in item.location for item in references) and (
        broken := [item for item in references if "become" in item.location]
    ):
        yield _ok(Check.LOG_IN)
        yield _failed(Check.PRIVILEGE, "no secret", summary, *(item.cure for item in broken))
    else:
        yield _log_in(name, machine, error, summary, references)


def _never_got_in(error: AzreachError) -> bool:
    """Neither a log-in that was refused, nor a command that was refused after it."""
    before = isinstance(error, TransportError) and not isinstance(error, AuthenticationError)
    return before and "starts no command" not in error.message


def _host_key(name: str, machine: Machine, error: HostKeyError, summary: str) -> Iterator[CheckResult]:
    shown = error.shown
    if shown is None:  # known_hosts itself cannot be read: nobody was asked
        yield _failed(
            Check.HOST_KEY, "unreadable", summary, Cure(HERE, f"ls -l {machine.ssh.known_hosts or '~/.ssh'}")
        )
        return
    yield _ok(Check.REACHABLE)
    # somebody may be in the middle: the machine itself has to say which key is its own
    compare = cures.as_root(name, machine, cures.fingerprint_of(shown.key_type))
    yield _failed(Check.HOST_KEY, shown.trust.value, summary, compare, *cures.trust_key(machine.ssh, shown))


def _jump_cures(machine: Machine, error: AzreachError) -> tuple[Cure, ...]:
    cause, jump = error.__cause__, machine.ssh.jump or ""
    if isinstance(cause, HostKeyError) and cause.shown is not None:
        compare = Cure(jump, cures.fingerprint_of(cause.shown.key_type))
        return (compare, *cures.trust_key(machine.ssh, cause.shown))
    try:
        log_in = parse_log_in(jump)
    except InputError:
        # a machine of the file: what its own row says cures this one, too
        return (Cure(HERE, f"azreach doctor   # see the row of {jump}"),)
    return (Cure(HERE, f"ssh -v -p {log_in.port} {shlex.quote(f'{log_in.user}@{log_in.host}')} true"),)


def _unreachable(
    machine: Machine, error: AzreachError, summary: str, name: str
) -> tuple[str, str, *tuple[Cure, ...]]:
    cause = error.__cause__
    if isinstance(cause, socket.gaierror | UnicodeError) or "did not resolve" in error.message:
        return ("no such name", summary, *cures.find_name(name, machine.ssh))
    if isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED:
        return ("refused", summary, cures.start_sshd(name, machine))
    return ("no", summary, *cures.find_machine(machine))


def _log_in(
    name: str, machine: Machine, error: AzreachError, summary: str, references: tuple[Reference, ...]
) -> CheckResult:
    """A reference of the file that leads nowhere explains a refused log-in better than the refusal does."""
    broken = [item for item in references if "ssh" in item.location and "known_hosts" not in item.location]
    if broken:
        return _failed(Check.LOG_IN, "no secret", summary, *(item.cure for item in broken))
    if "the SSH agent has no key" in error.message:
        return _failed(Check.LOG_IN, "no key", summary, Cure(HERE, 'eval "$(ssh-agent)" && ssh-add'))
    return _failed(Check.LOG_IN, "refused", summary, *cures.give_key(name, machine))


def _no_agent(name: str, machine: Machine, error: AgentError, summary: str) -> CheckResult:
    if "no python3" in error.message:
        if machine.arm_id is not None:
            # a log-in without python3 is most often a small image: the package manager is not known
            cure = cures.as_root(name, machine, "apt-get install -y python3 || dnf install -y python3")
        else:
            cure = cures.install(name, Facts(), ["python3"])
        return _failed(Check.PYTHON, "missing", summary, cure)
    return _failed(Check.PYTHON, "no agent", summary, Cure(name, "time python3 -I -S -c 'print(1)'"))


def _privilege_cures(
    name: str, machine: Machine, error: PrivilegeError, facts: Facts | None = None
) -> tuple[Cure, ...]:
    facts = facts or Facts()
    python = (facts.hello.tools.get("python3") if facts.hello is not None else None) or "/usr/bin/python3"
    allow = cures.allow_sudo(name, machine, python)
    if error.refusal is Refusal.NO_SUDO:
        install = cures.install(name, facts, ["sudo"]).command.removeprefix("sudo ")
        return (cures.as_root(name, machine, install), allow)
    if error.refusal is Refusal.PASSWORD_REQUIRED:
        export = Cure(HERE, "read -rs SUDO_PASSWORD && export SUDO_PASSWORD")
        return (cures.give_password(name), export, allow)
    if error.refusal is Refusal.WRONG_PASSWORD:
        return (Cure(name, "sudo -k true"), allow)
    if error.refusal is Refusal.TTY_REQUIRED:
        line = f"Defaults:{machine.ssh.user} !requiretty"
        return (cures.as_root(name, machine, f"echo '{line}' > {cures.SUDOERS}-tty && visudo -c"),)
    if error.refusal is Refusal.ACCOUNT:
        return (cures.as_root(name, machine, f"chage -l {machine.ssh.user}; passwd -S {machine.ssh.user}"),)
    if error.refusal is Refusal.UNKNOWN_USER:
        return (Cure(ENVIRONMENT_FILE, f"machines.{name}.become.user: root"),)
    if error.refusal is Refusal.BROKEN:
        return (cures.as_root(name, machine, "visudo -c; ls -l $(command -v sudo) /etc/sudoers"),)
    return (allow,)


# what there is to say of a machine that has an agent


def _logged_in(name: str, machine: Machine, facts: Facts) -> Iterator[CheckResult]:
    hello = facts.hello
    if facts.died is not None:
        yield _no_answer(name, facts.died)
    elif hello is not None:
        yield CheckResult(Check.PYTHON, Status.OK, hello.python, f"python3 is {hello.python}, the agent runs")
    if hello is None:
        return
    yield _tools(name, facts)
    if facts.clock is not None:
        yield _clock(name, facts)
    if hello.root or facts.died is None:
        yield _privilege(name, machine, facts, hello)
    if facts.no_capture is not None:
        yield _captures(name, machine, facts, hello)


def _no_answer(name: str, error: AgentError) -> CheckResult:
    summary = _said(name, error)
    if "did not answer" in summary:
        return _failed(
            Check.PYTHON,
            "hangs",
            summary,
            Cure(name, "uptime; ps -C python3 -o pid,stat,wchan:20,etime,args"),
        )
    look = Cure(name, "journalctl -k --since -5min --grep 'Killed process|Out of memory'")
    return _failed(Check.PYTHON, "died", summary, look)


def _privilege(name: str, machine: Machine, facts: Facts, hello: Hello) -> CheckResult:
    user = machine.ssh.user
    if hello.root:
        how = "root by sudo" if machine.become is not None and user != "root" else "root"
        return CheckResult(
            Check.PRIVILEGE, Status.OK, how, f"the agent is {how} (uid {hello.uid}, euid {hello.euid})"
        )
    who = f"the agent is not root (uid {hello.uid}, euid {hello.euid})"
    sudo = _said(name, facts.no_sudo) if facts.no_sudo is not None else "sudo works without a password"
    return CheckResult(
        Check.PRIVILEGE,
        Status.WARNING,
        f"uid {hello.euid}",
        f"{who}; {sudo}",
        _become_root(name, machine, facts),
    )


def _become_root(name: str, machine: Machine, facts: Facts) -> tuple[Cure, ...]:
    """What makes the agent root next time."""
    use = () if machine.become is not None else (cures.use_become(name),)
    if facts.no_sudo is None:
        return use
    help_ = _privilege_cures(name, machine, facts.no_sudo, facts)
    return help_ if facts.no_sudo.refusal is Refusal.PASSWORD_REQUIRED else (*help_, *use)


def _tools(name: str, facts: Facts) -> CheckResult:
    missing = [tool for tool in NEEDED_TOOLS if not facts.has(tool)]
    if not any(facts.has(tool) for tool in FILTERS):
        missing.append("nft")
    if missing:
        return CheckResult(
            Check.TOOLS,
            Status.WARNING,
            f"no {', '.join(missing)}",
            f"missing: {', '.join(missing)}",
            (cures.install(name, facts, missing),),
        )
    spare = [tool for tool in ("nft", "iptables-save", "conntrack") if not facts.has(tool)]
    without = f"; also without {', '.join(spare)}, which few machines need" if spare else ""
    return CheckResult(Check.TOOLS, Status.OK, "ok", f"every tool that steps need is there{without}")


def _clock(name: str, facts: Facts) -> CheckResult:
    clock = facts.clock
    assert clock is not None
    side = "ahead of" if clock.offset > 0 else "behind"
    summary = f"the clock is {abs(clock.offset):.3f} s {side} this machine's (to within {clock.error:.3f} s)"
    if clock.off:
        return CheckResult(Check.CLOCK, Status.WARNING, str(clock), summary, (cures.set_clock(name, facts),))
    return CheckResult(Check.CLOCK, Status.OK, str(clock), summary)


def _captures(name: str, machine: Machine, facts: Facts, hello: Hello) -> CheckResult:
    if not facts.no_capture:
        return CheckResult(Check.CAPTURES, Status.OK, "ok", "a capture can be opened")
    help_: tuple[Cure, ...]
    if not hello.root:
        help_ = _become_root(name, machine, facts)
    else:
        # root without the capability: a container
        help_ = (Cure(HERE, "docker run --cap-add NET_RAW ...   # the machine is a container without it"),)
    return CheckResult(Check.CAPTURES, Status.WARNING, "no", f"no captures: {facts.no_capture}", help_)


def _said(name: str, error: AzreachError) -> str:
    return error.message.removeprefix(f"{name}: ")


def _ok(check: Check) -> CheckResult:
    return CheckResult(check, Status.OK, "ok", _FINE[check])


_FINE = {
    Check.REACHABLE: "sshd answers",
    Check.HOST_KEY: "known_hosts has the host key",
    Check.LOG_IN: "the log-in works",
}


def _unknown(check: Check) -> CheckResult:
    return CheckResult(check, Status.UNKNOWN, "-", "not known: an earlier check failed")


def _failed(check: Check, short: str, summary: str, *help_: Cure) -> CheckResult:
    return CheckResult(check, Status.FAILED, short, summary, help_)
