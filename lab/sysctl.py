"""Network sysctls, which belong to a network namespace."""

from __future__ import annotations

from pathlib import Path

_NETWORK = Path("/proc/sys/net")


def set_network(name: str, value: int) -> None:
    """Sets a network sysctl of this thread's namespace; IPv6 ones are absent where the kernel has no IPv6."""
    path = _NETWORK / name
    try:
        with path.open("w") as file:
            file.write(str(value))
    except FileNotFoundError:
        if not name.startswith("ipv6/") or (_NETWORK / "ipv6").exists():
            raise
