"""Editing an environment file's text: what stood there stays, byte for byte, and new machines come last."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.doctor.yaml_insert import flow, insert_machines, scalar
from harness.errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NEW = {
    "db-01": {
        "os": "linux",
        "ssh": {"host": "10.0.3.4", "port": 2222, "user": "azureuser"},
        "services": [{"port": 53, "protocol": "udp"}],
    }
}


def load(text: str) -> Any:
    return yaml.load(text, Loader=LOADER)


def inserted(text: str, machines: dict[str, Any] = NEW) -> str:
    """The piece that was put in; asserts that there is one piece, and that the rest is what it was."""
    new = insert_machines(text, machines)
    before = next((i for i, (a, b) in enumerate(zip(text, new, strict=False)) if a != b), len(text))
    # the piece may begin with what follows it: try every begin that fits
    at = next(at for at in range(before, -1, -1) if new.endswith(text[at:]) and new.startswith(text[:at]))
    old, found = load(text) or {}, load(new)
    present = old.get("machines") or {}
    assert list(found["machines"]) == [*present, *machines]
    assert found == {**old, "machines": {**present, **machines}}
    return new[at : at + len(new) - len(text)]


def test_the_layout() -> None:
    text = """\
# ours
version: 1   # the only one
machines:
  web-01: {ssh: {host: a, user: u}}

  app-01:
    ssh:
      host: b   # behind the balancer
      user: u
  # app-02 was taken down

# what must work
flows:
- {from: "*", to: web-01, port: 80}
"""
    assert insert_machines(text, NEW) == text.replace(
        "  # app-02 was taken down\n",
        """\
  # app-02 was taken down
  db-01:
    os: linux
    ssh:
      host: 10.0.3.4
      port: 2222
      user: azureuser
    services: [{port: 53, protocol: udp}]
""",
    )


SHAPES = {
    "empty": "",
    "comment only": "# nothing yet\n",
    "comment without end of line": "# nothing yet",
    "no machines": "version: 1\nflows: []\n",
    "no machines, no end of line": "version: 1",
    "nothing below the key": "machines:\nversion: 1\n",
    "nothing below the key, at the end": "version: 1\nmachines:",
    "comment behind the key": "machines:   # ours\n# and\nversion: 1\n",
    "empty mapping": "machines: {}\n",
    "flow": "machines: {a: {x: 1}}  # short\nversion: 1\n",
    "flow with a last comma": "machines: {a: {x: 1},}\n",
    "flow over lines": "machines: {\n  a: {x: 1},  # first\n  b: {x: 2}   # second\n}\n",
    "everything in flow": "{version: 1, machines: {a: 1}, flows: []}",
    "everything in flow, no machines": "{version: 1}\n",
    "deep indentation": "machines:\n        a:\n            x: 1\nversion: 1\n",
    "indented root": "  version: 1\n  machines:\n    a: 1\n",
    "Windows line ends": "version: 1\r\nmachines:\r\n  a:\r\n    x: 1\r\nflows: []\r\n",
    "byte order mark": "\ufeffmachines:\n  a: ä\nversion: 1\n",
    "document marks": "---\nmachines:\n  a: 1\n...\n",
    "alias as the last value": "machines:\n  a: &a\n    x: 1\n  b: *a\nflows: [2]\n",
    "anchor on the mapping": "machines: &all\n  a: 1\nversion: 1\n",
    "block scalar": "machines:\n  a:\n    x: |\n      one\n\n      two\n\nversion: 1\n",
    "folded and kept": "machines:\n  a:\n    x: >+\n      one\n\n\nversion: 1\n",
    "quoted over lines": "machines:\n  a: 'one\n\n    two'\nversion: 1\n",
    "list at the end": "machines:\n  a:\n    - 1\n    - {y: 2}",
    "machines is a value, too": "x: machines\nmachines:\n  machines:\n    machines: 1\ny: {machines: 2}\n",
    "explicit keys": "machines:\n  ? a\n  : 1\n  ? b\nversion: 1\n",
    "null value": "machines:\n  a:\nversion: 1\n",
    "quoted key": '"machines":\n  "a": 1\n',
    "tabs and blanks": "machines: \n  a:  1  \n \n\nversion: 1\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape(text: str) -> None:
    piece = inserted(text)
    if "\r\n" in text:
        assert "\n" not in piece.replace("\r\n", "")


UNFIT = {
    "a list": "- machines\n",
    "a text": "machines",
    "machines is a list": "machines: [a]\n",
    "machines is an alias": "x: &x {a: 1}\nmachines: *x\n",
    "null in words": "machines: null\n",
    "two documents": "version: 1\n---\nmachines:\n  a: 1\n",
    "no YAML": "machines: [\n",
    "there already": "machines: {db-01: 1}\n",
}


@pytest.mark.parametrize("text", UNFIT.values(), ids=UNFIT.keys())
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        insert_machines(text, NEW)


def test_by_hand_then() -> None:
    with pytest.raises(InputError, match=r"cannot be added to.*\n.*by hand:\n  db-01:\n    os: linux"):
        insert_machines("machines: ~\n", NEW)


# any file that people may have written: parts of it in any order, each with its own layout

NAMES = st.one_of(
    st.sampled_from(["a", "web-01", "1", "yes", "null", "x y", "#", "- a", "ä", "\u202e", "a: b"]),
    st.text(max_size=8),
)
COMMENTS = st.sampled_from(["", "", "  # a comment", "   "])
BETWEEN = st.sampled_from(["", "", "\n", "# alone\n", "  # indented\n", "\n\n    # deep\n\n"])
VALUES = st.recursive(
    st.one_of(st.integers(-5, 70000), st.booleans(), st.none(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def files(draw: st.DrawFn) -> str:
    machines = draw(st.dictionaries(NAMES.filter(lambda name: name != "db-01"), VALUES, max_size=4))
    others = draw(st.dictionaries(st.sampled_from(["version", "azure", "flows", "x"]), VALUES, max_size=3))
    wide = draw(st.sampled_from([2, 3, 4, 8]))
    # False: everything in block style; None: what holds no further collection in flow style
    style = draw(st.sampled_from([False, None]))
    parts = [yaml.safe_dump({key: value}, default_flow_style=style) for key, value in others.items()]
    if draw(st.booleans()) or machines:
        lines = [f"machines:{draw(COMMENTS)}\n", draw(BETWEEN)]
        for name, value in machines.items():
            width = draw(st.sampled_from([20, 80]))
            body = yaml.safe_dump({name: value}, default_flow_style=style, indent=wide, width=width)
            lines += [" " * wide + line + "\n" for line in body.splitlines()]
            lines.append(draw(BETWEEN))
        parts.append("".join(lines))
    text = draw(BETWEEN) + draw(BETWEEN).join(draw(st.permutations(parts)))
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def valid(text: str) -> bool:
    try:
        found = load(text)
    except yaml.YAMLError:
        return False
    return found is None or isinstance(found, dict)


@given(files().filter(valid))
def test_any_file_keeps_what_it_had(text: str) -> None:
    inserted(text)


@given(
    files().filter(valid),
    st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_whatever_is_added_says_what_it_said(text: str, machines: dict[str, Any]) -> None:
    present = (load(text) or {}).get("machines") or {}
    new = {f"new {name}": value for name, value in machines.items() if f"new {name}" not in present}
    if new:
        inserted(text, new)


@given(st.text())
def test_any_text_is_edited_or_refused(text: str) -> None:
    try:
        new = insert_machines(text, NEW)
    except InputError:
        return
    assert load(new)["machines"]["db-01"] == NEW["db-01"]


@given(st.text())
def test_a_scalar_is_the_text_on_one_line(text: str) -> None:
    written = scalar(text)
    assert len(written.splitlines()) == 1
    assert load(written) == text
    assert load(f"{{a: {written}, b: [{written}]}}") == {"a": text, "b": [text]}


@given(VALUES)
def test_a_value_is_itself(value: Any) -> None:
    assert load(flow(value)) == value
