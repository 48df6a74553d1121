"""Flows as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.model import Flow, Protocol
from harness.target import parse_flow


@pytest.mark.parametrize(
    ("text", "flow"),
    [
        ("db-01:1433/tcp", Flow("a", "db-01", Protocol.TCP, 1433)),
        ("db-01:1433", Flow("a", "db-01", Protocol.TCP, 1433)),
        ("db-01:53/UDP", Flow("a", "db-01", Protocol.UDP, 53)),
        ("db-01/icmp", Flow("a", "db-01", Protocol.ICMP)),
        ("10.0.0.4:80/tcp", Flow("a", "10.0.0.4", Protocol.TCP, 80)),
        ("[fd00::4]:443/tcp", Flow("a", "fd00::4", Protocol.TCP, 443)),
        ("[fd00::4]/icmp", Flow("a", "fd00::4", Protocol.ICMP)),
        ("a name with spaces:1/tcp", Flow("a", "a name with spaces", Protocol.TCP, 1)),
    ],
)
def test_a_target_becomes_a_flow(text: str, flow: Flow) -> None:
    assert parse_flow("a", text) == flow


@pytest.mark.parametrize(
    "text",
    [
        "",
        "db-01",
        "db-01/tcp",
        "db-01:0/tcp",
        "db-01:65536",
        "db-01:1/sctp",
        "db-01:1/icmp",
        ":80",
        "[]:80",
        "fd00::4:80:x/tcp",
    ],
)
def test_what_is_no_target_is_refused_with_the_shape_to_write(text: str) -> None:
    with pytest.raises(InputError, match="NAME:PORT/tcp"):
        parse_flow("a", text)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_flow("a", text).source == "a"
