"""Files that are written whole or not at all, and the places where none can be written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.outfile import check_writable, replacing, writing


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a directory"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match=r"x\\x1b/out: there is no directory .*/x\\x1b"):
        check_writable(tmp_path / "x\x1b" / "out")
    check_writable(tmp_path / "out")
    check_writable(Path("/dev/null"))


def _half(draft: Path) -> None:
    draft.write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(InputError, match="No space"), replacing(path) as draft:
        _half(draft)
    assert [path.read_text(), [item.name for item in tmp_path.iterdir()]] == ["old", ["x.csv"]]
    with replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert [path.read_text(), [item.name for item in tmp_path.iterdir()]] == ["new", ["x.csv"]]


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with writing(path) as stream:
        stream.write("\u00e9\r\n")
    assert path.read_bytes() == b"\xc3\xa9\r\n"


def test_a_standard_output_that_is_a_file_is_continued(tmp_path: Path) -> None:
    """Others write to it as well."""
    with (tmp_path / "log").open("w+", encoding="utf-8") as log:
        log.write("before\n")
        log.flush()
        with writing(Path(f"/dev/fd/{log.fileno()}")) as stream:
            stream.write("after\n")
        log.seek(0)
        assert log.read() == "before\nafter\n"
    assert [item.name for item in tmp_path.iterdir()] == ["log"]


def test_a_full_disk_is_an_error_that_names_the_file() -> None:
    with (
        pytest.raises(InputError, match=r"^/dev/full: No space left on device"),
        writing(Path("/dev/full")) as stream,
    ):
        stream.write("x")
