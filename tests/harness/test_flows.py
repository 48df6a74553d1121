"""Files of flows: what is read, line by line, and what is refused with its place."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.flows import read_flows
from harness.model import Flow, Protocol

HEADER = "from,to,protocol,port\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "flows.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_flows_with_their_lines(tmp_path: Path) -> None:
    text = HEADER + "# a comment, with a comma\n\nweb, db ,TCP, 1433\nweb,db,icmp,\n,,,\nweb,db,,80\n"
    found = list(read_flows(written(tmp_path, text)))
    assert [item.flow for item in found] == [
        Flow("web", "db", Protocol.TCP, 1433),
        Flow("web", "db", Protocol.ICMP, None),
        Flow("web", "db", Protocol.TCP, 80),
    ]
    assert [item.place.rpartition(":")[2] for item in found] == ["4", "5", "7"]


def test_columns_in_any_order_and_further_ones(tmp_path: Path) -> None:
    text = "\ufeffPort, Owner ,TO,from\r\n53,me,db,web\r\n"
    assert [item.flow for item in read_flows(written(tmp_path, text))] == [
        Flow("web", "db", Protocol.TCP, 53)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the header lacks from and to and port"),
        ("web,db,tcp,80\n", "1: the header lacks"),
        ("from,to,to,port\na,b,c,1\n", "1: the header names 'to' twice"),
    ],
)
def test_a_wrong_header_is_told_before_any_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"flows\.csv:{message}"):
        read_flows(written(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("web,db,tcp", "2: 3 columns, the header has 4"),
        (",db,tcp,80", "2: 'from' is empty"),
        ("web,,tcp,80", "2: 'to' is empty"),
        ("web,db,sctp,80", "2: 'sctp' is no protocol"),
        ("web,db,tcp,", "2: tcp needs a port"),
        ("web,db,tcp,0", "2: '0' is no port"),
        ("web,db,tcp,65536", "2: '65536' is no port"),
        ("web,db,tcp,\u0663", "2: '\u0663' is no port"),
        ("web,db,icmp,80", "2: icmp has no port, but '80'"),
        ('web,"d"b,tcp,80', "2: not CSV"),
        ('web,"db,tcp,80', "2: not CSV"),
    ],
)
def test_wrong_lines(line: str, message: str, tmp_path: Path) -> None:
    flows = read_flows(written(tmp_path, HEADER + line + "\n"))
    with pytest.raises(InputError, match=rf"flows\.csv:{message}"):
        list(flows)


def test_what_comes_before_a_wrong_line_is_read(tmp_path: Path) -> None:
    flows = read_flows(written(tmp_path, HEADER + "web,db,tcp,80\nwrong\n"))
    assert next(flows).flow == Flow("web", "db", Protocol.TCP, 80)
    with pytest.raises(InputError, match="3: 1 columns"):
        next(flows)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_flows(tmp_path / "nowhere")
    with pytest.raises(InputError, match="directory"):
        read_flows(tmp_path)
    with pytest.raises(InputError, match="null"):
        read_flows(Path("a\0b"))
    with pytest.raises(InputError, match=r"not UTF-8 text \(byte 0xff\)"):
        list(read_flows(written(tmp_path, HEADER.encode() + b"\xff\n")))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    given_bytes = io.BytesIO(("\ufeff" + HEADER + "web,db,udp,53\n").encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given_bytes))
    (found,) = read_flows(Path("-"))
    assert (found.place, found.flow) == ("standard input:2", Flow("web", "db", Protocol.UDP, 53))
    assert not given_bytes.closed


names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda text: text == text.strip() and not text.startswith("#")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flows=st.lists(st.tuples(names, names, st.integers(1, 65535))))
def test_what_a_csv_writer_writes(flows: list[tuple[str, str, int]], tmp_path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["from", "to", "port"])
    writer.writerows(flows)
    found = [item.flow for item in read_flows(written(tmp_path, text.getvalue()))]
    assert found == [Flow(source, target, Protocol.TCP, port) for source, target, port in flows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary())
def test_any_bytes(content: bytes, tmp_path: Path) -> None:
    try:
        list(read_flows(written(tmp_path, HEADER.encode() + content)))
    except InputError as error:
        assert "flows.csv" in str(error)  # noqa: PT017 - either is fine, a traceback is not
