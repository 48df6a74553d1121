"""How an agent gets onto a machine and is started there: the command line and what is sent to it.

Everything that decides the start command is in :func:`start`; privilege (``become``) belongs
there too. Not for the connection that runs the command (``harness.transport``).
"""

from __future__ import annotations

import functools
import secrets
import zlib
from dataclasses import dataclass
from importlib.resources import files

PROTOCOL = 1

# `python3 -` would read its input to the end first. So a loader on the command line reads the
# source by its length and leaves the rest of the stream to the agent. It must survive any login
# shell (sh, csh, fish): one line, single quotes outside, no single quote, `!` or `$` inside.
_LOADER = (
    'exec("'
    r"import sys,zlib\nf=open(0,\"rb\",0,closefd=False)\nn,TOKEN=f.readline().decode().split()\nb=b\"\"\n"
    r"while len(b)<int(n):\n c=f.read(int(n)-len(b))\n if not c: sys.exit(70)\n b+=c\n"
    r"exec(compile(zlib.decompress(b),\"<azreach-agent>\",\"exec\"),{\"__name__\":\"azreach_agent\",\"TOKEN\":TOKEN})"
    '")'
)


@dataclass(frozen=True, slots=True)
class AgentStart:
    """A command line for the machine's login shell, the bytes it wants first, and its ready line."""

    command: str
    preamble: bytes
    ready: str


@functools.cache
def _source() -> bytes:
    return zlib.compress(files("harness.agent").joinpath("linux.py").read_bytes(), 6)


def arguments(python: str = "python3") -> tuple[str, ...]:
    """The words of the command that runs the loader (no shell quoting)."""
    # -I and -S: neither the user's environment nor site packages can change what runs.
    return (python, "-I", "-S", "-c", _LOADER)


def start(python: str = "python3") -> AgentStart:
    """How to start the Linux agent.

    The ready line carries a token that no banner, motd or profile can contain by chance.
    """
    token = secrets.token_hex(8)
    source = _source()
    words = arguments(python)
    command = " ".join((*words[:-1], f"'{words[-1]}'"))
    preamble = f"{len(source)} {token}\n".encode("ascii") + source
    return AgentStart(command, preamble, f"azreach-agent-ready {PROTOCOL} {token}")
