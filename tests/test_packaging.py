"""The wheel alone, in an empty environment, gives the command, the pytest plugin, the lab and the agent.

The environment is filled by pip, as a team would do it. Where no package index can be reached it gets links
to the very distributions that the wheel declares to need, and to no others, out of the environment of this
test; so an undeclared import fails in both cases.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, fails: bool = False) -> str:
    """What ``command`` prints on both streams, outside of this repository and without its influence."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=keep,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) is fails, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `python -m build` makes it; offline, with the build back end that is installed here."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of programs of an environment into which nothing but the wheel was installed."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(home, symlinks=True)
    programs = home / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(programs / "python")]
    install = subprocess.run(
        [*pip, "install", "--quiet", "--no-input", str(wheel)], capture_output=True, text=True, check=False
    )
    if install.returncode != 0:
        assert "No matching distribution" in install.stderr, install.stderr
        run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=home)
        _link_requirements(home)
    run(*pip, "check", cwd=home)
    return programs


def _link_requirements(home: Path) -> None:
    """Links what azreach declares to need, and what that needs in turn, into the environment ``home``."""
    target = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    waiting, done = ["azreach"], set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in done:
            continue
        done.add(name)
        path = [str(target)] if name == "azreach" else sys.path
        distribution = next(iter(metadata.distributions(name=name, path=path)))
        waiting += [
            requirement.name
            for requirement in map(Requirement, distribution.requires or ())
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ]
        if name != "azreach":
            for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                (target / top).symlink_to(str(distribution.locate_file(top)))


def test_data_files_are_inside(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    in_repository = {
        str(path.relative_to(ROOT))
        for package in ("harness", "lab")
        for pattern in ("*.py", "*.yaml", "*.yml", "py.typed")
        for path in (ROOT / package).rglob(pattern)
    }
    assert in_repository <= names
    assert "harness/agent/linux/agent.py" in names
    assert any(name.startswith("lab/topologies/") for name in names)
    assert (
        not {name.split("/")[0] for name in names}
        - {"harness", "lab"}
        - {name.split("/")[0] for name in names if ".dist-info/" in name}
    )


def test_nothing_comes_from_the_repository(environment: Path, tmp_path: Path) -> None:
    code = "import harness, lab; print(harness.__file__); print(lab.__file__)"
    for line in run(environment / "python", "-c", code, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(environment.parent)


def test_command(environment: Path, tmp_path: Path) -> None:
    text = run(environment / "azreach", "--help", cwd=tmp_path)
    for command in ("causes", "diagnose", "explain", "lab", "probe"):
        assert re.search(rf"^  {command}\b", text, re.MULTILINE), text
    for command in ("diagnose", "explain", "lab", "probe"):
        assert run(environment / "azreach", command, "--help", cwd=tmp_path).startswith("Usage: azreach")


def test_causes(environment: Path, tmp_path: Path) -> None:
    text = run(environment / "azreach", "causes", cwd=tmp_path)
    assert "subnet-nsg-inbound" in text
    assert "az network nsg" in run(
        environment / "azreach", "causes", "nsg-udr/subnet-nsg-inbound", cwd=tmp_path
    )


def test_wrong_input_is_one_message(environment: Path, tmp_path: Path) -> None:
    arguments = ("diagnose", "a", "b:1/tcp", "--env", "absent.yaml")
    text = run(environment / "azreach", *arguments, cwd=tmp_path, fails=True)
    assert "absent.yaml" in text
    assert "Traceback" not in text


def test_plugin_in_a_repository_of_ones_own(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "def test_it(reach, blocked):\n    assert callable(reach) and callable(blocked)\n", encoding="utf-8"
    )
    text = run(environment / "python", "-m", "pytest", "--trace-config", "--collect-only", cwd=tmp_path)
    assert re.search(r"azreach\s*: .*harness/plugin\.py", text), text
    assert "test_mine.py::test_it" in text or "<Function test_it>" in text
    assert "--env" in run(environment / "python", "-m", "pytest", "--help", cwd=tmp_path)
    assert "reach" in run(environment / "python", "-m", "pytest", "--fixtures", cwd=tmp_path)


def test_plugin_is_silent_in_unrelated_tests(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    assert "1 passed" in run(environment / "python", "-m", "pytest", "-W", "error", cwd=tmp_path)


def test_heavy_libraries_wait_until_they_are_needed(environment: Path, tmp_path: Path) -> None:
    code = "import sys, harness.cli, harness.plugin; print(*sys.modules)"
    loaded = set(run(environment / "python", "-c", code, cwd=tmp_path).split())
    assert not loaded & {"scapy", "paramiko", "azure.identity", "azure.mgmt.network", "winrm"}


def test_lock_covers_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE))
    declared = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    for requirement in map(Requirement, declared):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name != "azreach":
            assert pinned.get(name), f"{requirement} is not in requirements.lock: run tools/lock"
            assert requirement.specifier.contains(pinned[name], prereleases=True)
    assert not re.search(r"https?:|^-|^/", lock, re.MULTILINE), "the lock must name no index and no path"
