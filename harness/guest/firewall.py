"""Reads a Linux guest's packet filter through its agent: nftables and iptables, whichever is there.

Reading rules needs root; without it ``problem`` says so. iptables-nft's own tables are read
by iptables-save only, since ``nft -j`` hides their matches.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.agent.client import Agent
from harness.agent.contract import ErrorKind, RequestError, RunResult
from harness.guest.iptables import read_iptables, tables_in
from harness.guest.nftables import NotAnswered, read_nftables
from harness.guest.ruleset import Chain, Ruleset

_NFT_JSON = ("nft", "-j", "list", "ruleset")
_NFT_TEXT = ("nft", "-a", "list", "ruleset")
_LEGACY = {4: ("iptables-legacy-save", "-c"), 6: ("ip6tables-legacy-save", "-c")}
_SAVE = {4: ("iptables-save", "-c"), 6: ("ip6tables-save", "-c")}


@dataclass(frozen=True, slots=True)
class Firewall:
    """A guest's packet filter, as far as it could be read; ``ruleset`` None: not at all.

    ``problem`` says what is missing and why; ``commands`` are those that were run to read it.
    """

    ruleset: Ruleset | None
    commands: tuple[str, ...] = ()
    problem: str | None = None


def read_firewall(agent: Agent, version: int) -> Firewall:
    """The filter that packets of IP ``version`` (4 or 6) meet on the agent's machine."""
    if not agent.facts().root:
        return Firewall(None, problem="reading firewall rules needs root")
    saved = _run(agent, _SAVE[version])
    listed = _run(agent, _NFT_JSON)
    if saved is None and listed is None:
        return Firewall(None, problem="neither nft nor iptables is installed to read rules with")
    chains: list[Chain] = []
    commands: list[str] = []
    problems: list[str] = []
    kept_by_iptables: frozenset[str] = frozenset()
    if saved is not None:
        commands.append(" ".join(_SAVE[version]))
        if saved.exit_code == 0:
            problems += _gaps(_SAVE[version], saved)
            kept_by_iptables = tables_in(saved.stdout)
            chains += read_iptables(saved.stdout, version).chains
            chains += _legacy(agent, version, saved, commands, problems)
        else:
            problems.append(_said(_SAVE[version], saved))
    if listed is not None:
        commands.append(" ".join(_NFT_TEXT))
        texts = _run(agent, _NFT_TEXT)
        without = frozenset(("ip" if version == 4 else "ip6", table) for table in kept_by_iptables)
        try:
            ruleset = read_nftables(listed.stdout, texts.stdout if texts is not None else "", without=without)
            chains += ruleset.chains
            problems += _gaps(_NFT_JSON, listed)
        except NotAnswered:
            problems.append(_said(_NFT_JSON, listed))
    if problems and not chains:
        return Firewall(None, tuple(commands), "; ".join(problems))
    return Firewall(Ruleset(tuple(chains)), tuple(commands), "; ".join(problems) or None)


def _run(agent: Agent, command: tuple[str, ...]) -> RunResult | None:
    """What the command answered, or None where the guest does not have it."""
    try:
        return agent.run(*command, max_output=16 << 20)
    except RequestError as error:
        if error.kind is ErrorKind.NOT_FOUND:
            return None
        raise


def _legacy(
    agent: Agent, version: int, saved: RunResult, commands: list[str], problems: list[str]
) -> tuple[Chain, ...]:
    """The rules of the kernel's older tables, which iptables-nft only warns of."""
    if "legacy tables present" not in saved.stderr:
        return ()
    command = _LEGACY[version]
    listed = _run(agent, command)
    if listed is None or listed.exit_code != 0:
        problems.append("there are iptables-legacy rules, and no iptables-legacy-save to read them with")
        return ()
    commands.append(" ".join(command))
    return read_iptables(listed.stdout, version, origin="iptables-legacy").chains


def _gaps(command: tuple[str, ...], result: RunResult) -> list[str]:
    """What the answer itself says that it leaves out."""
    gaps = []
    if result.truncated:
        gaps.append(f"`{' '.join(command)}` answered more than was read")
    return gaps


def _said(command: tuple[str, ...], result: RunResult) -> str:
    last = (result.stderr.strip().splitlines() or ["no answer"])[-1]
    return f"`{' '.join(command)}` ended with {result.exit_code}: {last}"
