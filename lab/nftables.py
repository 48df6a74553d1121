"""Runs nftables scripts and reads rule counters in the network namespace of the caller's choice.

Scripts go through the ``nft`` program. Counters are read by a raw NFT_MSG_GETRULE, because
``nft list`` aborts as soon as a set of raw header bits holds elements. Not for what the rules
say (``ruleset``, ``program``).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Sequence
from typing import Final

from harness.errors import AzreachError
from lab.netlink import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    attribute,
    attributes,
    inside,
    messages,
)

NETLINK_NETFILTER: Final = 12
NFT_MSG_GETRULE: Final = 10 << 8 | 7
NFPROTO_INET: Final = 1
NFPROTO_NETDEV: Final = 5
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_USERDATA = 1, 2, 4, 7
NFTA_LIST_ELEM, NFTA_EXPR_NAME, NFTA_EXPR_DATA, NFTA_COUNTER_PACKETS = 1, 1, 2, 2
NFTNL_UDATA_RULE_COMMENT: Final = 0
_GENERIC = struct.Struct(">BBH")
_NETLINK = struct.Struct("=IHHII")
_RECEIVE: Final = 1 << 20


class NftError(AzreachError):
    """nft is missing or refused a script."""


class ScriptTooLongError(NftError):
    """More than the socket's buffer holds; only root of the machine may have a larger one."""


class PartlyDoneError(NftError):
    """A script that needed several transactions, of which not all were accepted."""


def run_script(netns: int, script: str) -> None:
    """Runs a script as one transaction in ``netns``; raises NftError with nft's own words."""
    try:
        with inside(netns):
            done = subprocess.run(
                ["nft", "-f", "-"],
                input=script,
                text=True,
                capture_output=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
    except FileNotFoundError:
        raise NftError("the program nft is missing", hint="apt-get install nftables") from None
    if done.returncode:
        words = done.stderr.strip() or f"exit status {done.returncode}"
        kind = ScriptTooLongError if os.strerror(errno.EMSGSIZE) in words else NftError
        raise kind(f"nft refused the fabric's rules: {words[:500]}")


def run_steps(netns: int, steps: Sequence[str]) -> None:
    """Runs a script that is given in pieces: as one transaction if it can be sent so, else in a few.

    Raises NftError (nothing has changed), or PartlyDoneError (some of several transactions are in effect).
    """
    try:
        run_script(netns, "".join(steps))
    except ScriptTooLongError:
        if len(steps) < 2:
            # a chain of a thousand rules; incomplete for a moment, which nothing can be done about
            steps = steps[0].splitlines(keepends=True)
        if len(steps) < 2:
            raise
        middle = len(steps) // 2
        run_steps(netns, steps[:middle])
        try:
            run_steps(netns, steps[middle:])
        except NftError as error:
            raise PartlyDoneError(error.message, hint=error.hint) from error


def rule_counters(
    netns: int, table: str, chain: str | None = None, family: int = NFPROTO_NETDEV
) -> dict[str, int]:
    """Packets by rule comment in a table (or one of its chains); equal comments are added up."""
    selection = attribute(NFTA_RULE_TABLE, table)
    if chain is not None:
        selection += attribute(NFTA_RULE_CHAIN, chain)
    body = _GENERIC.pack(family, 0, 0) + selection
    with inside(netns):
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    packets: Counter[str] = Counter()
    with kernel:
        kernel.bind((0, 0))
        kernel.send(
            _NETLINK.pack(_NETLINK.size + len(body), NFT_MSG_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body
        )
        while True:
            for kind, _, _, content in messages(kernel.recv(_RECEIVE)):
                if kind == NLMSG_DONE:
                    return dict(packets)
                if kind == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", content)[0]
                    raise OSError(number, f"rules of table {table}: {os.strerror(number)}")
                rule = dict(attributes(content[_GENERIC.size :]))
                comment = _comment(rule.get(NFTA_RULE_USERDATA, b""))
                if comment:
                    packets[comment] += _packets(rule.get(NFTA_RULE_EXPRESSIONS, b""))


def _comment(user_data: bytes) -> str:
    """User data is a list of (type, length, value) of one byte each for type and length."""
    offset = 0
    while offset + 2 <= len(user_data):
        kind, length = user_data[offset], user_data[offset + 1]
        if kind == NFTNL_UDATA_RULE_COMMENT:
            return user_data[offset + 2 : offset + 2 + length].rstrip(b"\0").decode(errors="replace")
        offset += 2 + length
    return ""


def _packets(expressions: bytes) -> int:
    for kind, element in attributes(expressions):
        if kind == NFTA_LIST_ELEM:
            expression = dict(attributes(element))
            if expression.get(NFTA_EXPR_NAME, b"").rstrip(b"\0") == b"counter":
                data = dict(attributes(expression[NFTA_EXPR_DATA]))
                return int.from_bytes(data[NFTA_COUNTER_PACKETS], "big")
    return 0
