"""How an agent gets onto a machine and is started there: the command line and what is sent to it.

Everything that decides the start command is in :func:`start`. Not for the connection that runs
the command (``harness.transport``), nor for what a refused privilege means
(:mod:`harness.transport.become`).
"""

from __future__ import annotations

import functools
import re
import secrets
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files

from harness.agent.linux import AT_START, PARTS

PROTOCOL = 1

# `python3 -` would read its input to the end first. So a loader on the command line reads the
# source by its length and leaves the rest of the stream to the agent. It must survive any login
# shell (sh, csh, fish): one line, single quotes outside, no single quote, `!` or `$` inside.
# An argument is a word to say first: "I run, send the source".
_LOADER = (
    'exec("'
    r"import sys,zlib\nif sys.argv[1:]: print(sys.argv[1],flush=True)\n"
    r"f=open(0,\"rb\",0,closefd=False)\nn,TOKEN=f.readline().decode().split()\nb=b\"\"\n"
    r"while len(b)<int(n):\n c=f.read(int(n)-len(b))\n if not c: sys.exit(70)\n b+=c\n"
    r"exec(compile(zlib.decompress(b),\"<azreach-agent>\",\"exec\"),{\"__name__\":\"azreach_agent\",\"TOKEN\":TOKEN})"
    '")'
)

_BETWEEN_PARTS = re.compile(r"^from harness\.agent\.linux\.(\w+) import (?:\([^)]*\)|[^\n(]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AgentStart:
    """A command line for the machine's login shell, the bytes it wants first, and its ready line.

    With ``prompt``, the command may first ask for a password on its standard error, in exactly
    these words, and says ``loader`` as a line of its own when it wants the preamble.
    """

    command: str
    preamble: bytes
    ready: str
    prompt: str | None = None
    loader: str | None = None


def join(parts: Mapping[str, str], at_start: Collection[str]) -> str:
    """The parts of an agent as one text, imports between them left out.

    Those of ``at_start`` stand in it as they are; the others as strings by name in ``LATE``, each
    with the parts that it imports. Line numbers within a late part are those of its file.
    """
    late = {
        part: (tuple(dict.fromkeys(_BETWEEN_PARTS.findall(text))), _without_imports(text))
        for part, text in parts.items()
        if part not in at_start
    }
    begun = [_without_imports(parts[part]) for part in parts if part in at_start]
    return "\n".join((f"LATE = {late!r}", *begun))


def _without_imports(text: str) -> str:
    return _BETWEEN_PARTS.sub(lambda found: "\n" * found[0].count("\n"), text)


@functools.cache
def source() -> str:
    """The Linux agent's whole program."""
    directory = files("harness.agent.linux")
    return join({part: directory.joinpath(f"{part}.py").read_text("utf-8") for part in PARTS}, AT_START)


@functools.cache
def _compressed() -> bytes:
    return zlib.compress(source().encode("utf-8"), 6)


def arguments(python: str = "python3") -> tuple[str, ...]:
    """The words of the command that runs the loader (no shell quoting)."""
    # -I and -S: neither the user's environment nor site packages can change what runs.
    return (python, "-I", "-S", "-c", _LOADER)


def start(python: str = "python3", *, become: str | None = None, password: bool = False) -> AgentStart:
    """How to start the Linux agent, as the user ``become`` by sudo where that is given.

    The ready line carries a token that no banner, motd or profile can contain by chance.
    ``password``: sudo may ask for one. Only then is anything waited for before the source is
    sent: whether sudo asks depends on its rules, and what is sent unasked for a password would
    be read as source.
    """
    token = secrets.token_hex(8)
    packed = _compressed()
    words = arguments(python)
    command = " ".join((*words[:-1], f"'{words[-1]}'"))
    preamble = f"{len(packed)} {token}\n".encode("ascii") + packed
    prompt = loader = None
    if become is not None and password:
        prompt, loader = f"azreach-password-{token}:", f"azreach-loader {token}"
        # -k: a remembered log-in is not used, so that a wrong password never passes by luck.
        command = f"{_SUDO} -k -S -p '{prompt}' -u '{become}' -- {command} '{loader}'"
    elif become is not None:
        command = f"{_SUDO} -n -u '{become}' -- {command}"
    return AgentStart(command, preamble, f"azreach-agent-ready {PROTOCOL} {token}", prompt, loader)


# The login shell may be any; sudo's words are understood in English only.
_SUDO = "env LC_ALL=C LANGUAGE= sudo"
