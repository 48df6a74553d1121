"""What the agent runs on: versions, user, capabilities, clock, and where tools are."""

import os
import resource
import socket
import sys
import time

from harness.agent.linux.words import CAPABILITIES, PATH, PROTOCOL, TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from harness.agent.linux.agent import Agent
    from harness.agent.linux.request import Answer, Params


def search_path() -> str:
    have = os.environ.get("PATH", "").split(":")
    return ":".join([one for one in have if one] + [one for one in PATH.split(":") if one not in have])


def which(name: str) -> "str | None":
    if "/" in name:
        return name if os.access(name, os.X_OK) else None
    for directory in search_path().split(":"):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def hello(agent: "Agent", answer: "Answer", params: "Params") -> None:
    tools = params.texts("tools", list(TOOLS), 100)
    params.done()
    effective = 0
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    effective = int(line.split()[1], 16)
    except OSError:
        pass
    answer.ok(
        {
            "protocol": PROTOCOL,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "platform": "linux",
            "kernel": os.uname().release,
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "uid": os.getuid(),
            "euid": os.geteuid(),
            "capabilities": [name for bit, name in sorted(CAPABILITIES.items()) if effective >> bit & 1],
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "clock": time.time(),
            "tools": {name: which(name) for name in tools},
        }
    )
