"""known_hosts as OpenSSH reads it: which key a host must show.

Understands plain, hashed and wildcard names, ``[host]:port``, negation and ``@revoked``; lines
that name a certificate authority or cannot be read are passed over, as OpenSSH does. Pure, apart
from :func:`load`. Not for connecting and not for writing the file.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import functools
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DEFAULT_FILES = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))
SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One line: the names it is for, and the key."""

    patterns: tuple[str, ...]
    key_type: str
    key: bytes
    place: str
    """``file:line``, for messages."""
    revoked: bool = False

    def matches(self, name: str) -> bool:
        found = False
        for pattern in self.patterns:
            if pattern.startswith("|1|"):
                found = found or _hash_matches(pattern, name)
            elif pattern.startswith("!"):
                if _glob_matches(pattern[1:], name):
                    return False
            else:
                found = found or _glob_matches(pattern, name)
        return found


class Trust(StrEnum):
    """What known_hosts says of a key that a host showed."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Judgement:
    """``entry`` is the line that decided, where there is one."""

    trust: Trust
    entry: KnownHost | None = None


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key that a host showed and that was refused: ``name`` as known_hosts has it, the file asked."""

    name: str
    key_type: str
    key: bytes
    file: Path
    trust: Trust

    @property
    def line(self) -> str:
        """The line of known_hosts that would make it known."""
        return f"{self.name} {self.key_type} {base64.b64encode(self.key).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class KnownHosts:
    entries: tuple[KnownHost, ...] = ()

    def key_types(self, host: str, port: int) -> tuple[str, ...]:
        """The types of keys that are known for the host: a client asks for these first."""
        found = [e for name in names(host, port) for e in self.entries if not e.revoked and e.matches(name)]
        return tuple(dict.fromkeys(entry.key_type for entry in found))

    def judge(self, host: str, port: int, key_type: str, key: bytes) -> Judgement:
        """Whether ``host`` may show this key (its wire form)."""
        first, *others = names(host, port)
        relevant = [e for e in self.entries if e.matches(first) or any(e.matches(name) for name in others)]
        for entry in relevant:
            if entry.revoked and entry.key == key:
                return Judgement(Trust.REVOKED, entry)
        for entry in relevant:
            if not entry.revoked and entry.key == key:
                return Judgement(Trust.KNOWN, entry)
        # A key of another type than the recorded ones is a change too: the client asked for the
        # recorded types first, so the host no longer has them. An entry for the bare host name
        # says nothing against a host at another port.
        changed = [e for e in relevant if not e.revoked and e.matches(first)]
        changed.sort(key=lambda entry: entry.key_type != key_type)
        return Judgement(Trust.CHANGED, changed[0]) if changed else Judgement(Trust.UNKNOWN)


def names(host: str, port: int) -> tuple[str, ...]:
    """The names under which a host may be listed, the one that binds first."""
    host = host.lower()
    return (host,) if port == SSH_PORT else (f"[{host}]:{port}", host)


def fingerprint(key: bytes) -> str:
    """As ``ssh-keygen -l`` prints it."""
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode("ascii").rstrip("=")
    return f"SHA256:{digest}"


def parse(text: str, file: str = "known_hosts") -> tuple[KnownHost, ...]:
    """The usable lines of a known_hosts file."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else None
        if len(words) < 3 or words[0].startswith("#") or marker not in (None, "@revoked"):
            continue
        try:
            key = base64.b64decode(words[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        patterns = tuple(p if p.startswith("|1|") else p.lower() for p in words[0].split(",") if p)
        found.append(KnownHost(patterns, words[1], key, f"{file}:{number}", marker is not None))
    return tuple(found)


def load(files: Iterable[Path]) -> KnownHosts:
    """The entries of all files that exist; raises OSError for one that exists and cannot be read."""
    entries: list[KnownHost] = []
    for file in files:
        path = file.expanduser()
        if path.exists():
            found = path.stat()
            entries.extend(_parse_file(path, found.st_mtime_ns, found.st_size, found.st_ino))
    return KnownHosts(tuple(entries))


@functools.lru_cache(maxsize=16)
def _parse_file(path: Path, *_version: int) -> tuple[KnownHost, ...]:
    """A file for a thousand machines is read once, not a thousand times; a changed one again."""
    return parse(path.read_text(encoding="utf-8", errors="replace"), str(path))


def _glob_matches(pattern: str, name: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    # In known_hosts, brackets are part of a name ("[host]:port"), not a set of characters.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(pattern: str, name: str) -> bool:
    parts = pattern.split("|")
    if len(parts) != 4:
        return False
    try:
        salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode("utf-8"), hashlib.sha1).digest(), digest)
