"""Recording host keys in known_hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.doctor.host_keys import record, unknown_key
from harness.errors import AuthenticationError, HostKeyError, InputError
from harness.transport.known_hosts import ShownKey, Trust, load


def shown(file: Path, trust: Trust = Trust.UNKNOWN) -> ShownKey:
    return ShownKey("[web-01]:2222", "ssh-ed25519", b"the key", file, trust)


@pytest.mark.parametrize("before", ["", "other ssh-ed25519 AAAA\n", "other ssh-ed25519 AAAA", None])
def test_a_key_that_is_recorded_is_known(tmp_path: Path, before: str | None) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    if before is not None:
        file.parent.mkdir()
        file.write_text(before)
    assert record(shown(file)) == file
    assert load([file]).judge("web-01", 2222, "ssh-ed25519", b"the key").trust is Trust.KNOWN
    assert file.read_text().startswith(before or "")
    assert len(file.read_text().splitlines()) == (2 if before else 1)
    if before is None:
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be recorded"):
        record(shown(tmp_path / "file" / "known_hosts"))
    with pytest.raises(InputError, match="cannot be recorded"):
        record(shown(tmp_path))


def test_only_an_unknown_key_can_be_approved(tmp_path: Path) -> None:
    own, changed = shown(tmp_path), shown(tmp_path, Trust.CHANGED)
    assert unknown_key(HostKeyError("m", "", shown=own)) is own
    assert unknown_key(HostKeyError("m", "", shown=changed)) is None
    assert unknown_key(HostKeyError("m", "known_hosts cannot be read")) is None
    assert unknown_key(AuthenticationError("m", "")) is None
    through = HostKeyError("m", "jump host")
    through.__cause__ = HostKeyError("gate", "", shown=own)
    assert unknown_key(through) is own
