"""The start command must survive every login shell, and the agent's parts must make one program."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from harness.agent.bootstrap import arguments, join, source, start
from harness.agent.linux import PARTS
from harness.agent.linux.agent import OPERATIONS


def test_the_loader_needs_no_quoting_beyond_single_quotes() -> None:
    loader = arguments()[-1]
    assert not set("'!$`\n") & set(loader)
    assert len(start().command) < 1000


def test_every_start_has_a_token_of_its_own() -> None:
    assert start().ready != start().ready


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh", "csh", "busybox"])
def test_login_shells(shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} on this machine")
    begun = start()
    command = [path, "sh", "-c"] if shell == "busybox" else [path, "-c"]
    quit_request = b'{"id": 1, "op": "quit"}\n'
    done = subprocess.run(
        [*command, begun.command], input=begun.preamble + quit_request, capture_output=True, check=True
    )
    assert begun.ready.encode() in done.stdout
    assert b'{"id":1,"ok":true,"result":{}}' in done.stdout


# the parts


def parts() -> dict[str, ast.Module]:
    directory = Path(str(files("harness.agent.linux")))
    return {part: ast.parse((directory / f"{part}.py").read_text()) for part in PARTS}


def test_every_part_is_sent() -> None:
    directory = Path(str(files("harness.agent.linux")))
    assert sorted(PARTS) == sorted(path.stem for path in directory.glob("*.py") if path.stem != "__init__")


def test_nothing_of_ours_is_imported_on_the_vm() -> None:
    program: dict[str, Any] = {"__name__": "a test"}
    exec(source(), program)
    assert set(program["LATE"]) | program["LOADED"] == set(PARTS)
    for text in (source(), *(text for _, text in program["LATE"].values())):
        imported = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom | ast.Import)]
        assert not [node for node in imported if "harness" in ast.unparse(node)]


def test_every_operation_is_in_its_part_and_loads_alone() -> None:
    for operation, (part, name) in OPERATIONS.items():
        program: dict[str, Any] = {"__name__": "a test"}
        exec(source(), program)
        program["load"](part)
        assert callable(program[name]), operation


def test_late_parts_keep_their_line_numbers() -> None:
    program: dict[str, Any] = {"__name__": "a test"}
    exec(source(), program)
    for part, (_, text) in program["LATE"].items():
        own = (Path(str(files("harness.agent.linux"))) / f"{part}.py").read_text()
        assert text.count("\n") == own.count("\n")


def test_no_name_belongs_to_two_parts() -> None:
    """Joined, the later one would silently take the place of the earlier one."""
    names: Counter[str] = Counter()
    for tree in parts().values():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names[node.name] += 1
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    names.update(n.id for n in ast.walk(target) if isinstance(n, ast.Name))
    del names["TYPE_CHECKING"]
    assert not [name for name, count in names.items() if count > 1]


def test_parts_import_each_other_by_name_and_only_earlier_ones() -> None:
    for number, (part, tree) in enumerate(parts().items()):
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
                assert not [name for name in node.names if name.asname], part
                assert (node.module or "").rpartition(".")[2] in PARTS[:number], part


def test_join_leaves_out_imports_of_any_shape() -> None:
    text = (
        "import os\nfrom harness.agent.linux.b import B\n"
        "from harness.agent.linux.b import (\n    C,\n    D,\n)\nx = 1\n"
    )
    joined = join({"a": text, "b": "y = 2\n"}, ["a"])
    assert joined == "LATE = {'b': ((), 'y = 2\\n')}\nimport os\n\n\n\n\n\nx = 1\n"
    program: dict[str, Any] = {}
    exec(join({"b": "y = 2\n", "a": text}, ["b"]), program)
    assert program["LATE"]["a"][0] == ("b",)


# privilege


def test_become_without_a_password_never_waits() -> None:
    begun = start(become="root")
    assert begun.command.startswith("env LC_ALL=C LANGUAGE= sudo -n -u 'root' -- python3 ")
    assert (begun.prompt, begun.loader) == (None, None)


def test_become_with_a_password_has_a_prompt_of_its_own() -> None:
    begun, other = start(become="root", password=True), start(become="root", password=True)
    assert begun.prompt is not None
    assert begun.loader is not None
    assert f"-S -p '{begun.prompt}'" in begun.command
    assert begun.command.endswith(f"'{begun.loader}'")
    assert begun.prompt != other.prompt
