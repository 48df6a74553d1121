"""Runs the benchmarks (``bench_*.py`` beside this file), prints one table and writes ``results/``.

    python -m tests.benchmarks.run [NAME ...]      all, or the named ones: ``fabric`` is ``bench_fabric.py``

A benchmark is a module with ``run() -> dict[str, Measurement | number]``. One that misses its peer says
what to install, one that fails says why; the others still run. Exit status: 0 when all that could run
did, 1 when one failed, 2 for a name that matches nothing. A target that is missed is shown, no more: it is
for people to judge, knowing the machine. Not a test: nothing in ``make test`` depends on a time.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.benchmarks.machine import Machine, PeerMissingError, facts
from tests.benchmarks.measurement import Measurement, adapt

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent.parent / "results"


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one benchmark: measurements, or the reason why there are none."""

    name: str
    seconds: float
    measurements: tuple[Measurement, ...] = ()
    skipped: str | None = None
    error: str | None = None


def available() -> list[str]:
    """The names of all benchmarks."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def run_one(name: str) -> Run:
    """Runs the benchmark ``name``; never raises for what happens inside it."""
    start = time.monotonic()
    measurements: list[Measurement] = []
    skipped = error = None
    try:
        module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        measurements = adapt(name, module.run())
    except PeerMissingError as missing:
        skipped = str(missing)
    except Exception:  # noqa: BLE001  one broken benchmark must not hide the others' numbers
        error = traceback.format_exc()
    return Run(name, round(time.monotonic() - start, 3), tuple(measurements), skipped, error)


def table(runs: Sequence[Run]) -> Table:
    """The measurements as a table. Names are data: they are never read as markup."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("measurement", "value", "unit", "target", "met", "peer", "ratio"):
        result.add_column(title, justify="right" if title in ("value", "ratio") else "left", overflow="fold")
    for item in (measurement for run in runs for measurement in run.measurements):
        met = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("")}[item.met]
        ratio = "" if item.ratio is None else f"{item.ratio:.3g}"
        cells = (item.name, f"{item.value:.4g}", item.unit, item.target or "")
        result.add_row(*map(Text, cells), met, Text(item.peer or ""), Text(ratio))
    return result


def write(runs: Sequence[Run], before: Machine, after: Machine, when: datetime) -> Path:
    """Writes the results with the facts of the machine, its load before and after; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"bench-{when:%Y-%m-%dT%H%M%SZ}.json"
    document = {
        "date": when.isoformat(timespec="seconds"),
        "machine": asdict(before) | {"load_after": after.load},
        "runs": [asdict(run) for run in runs],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def main(arguments: Sequence[str]) -> int:
    """Runs the named benchmarks, or all; returns the exit status."""
    # A file or a pipe has no width: each row on one line.
    console = Console(width=None if sys.stdout.isatty() else 200)
    unknown = set(arguments) - set(available())
    if unknown:
        console.print(
            f"no such benchmark: {', '.join(sorted(unknown))}\n  there are: {', '.join(available())}",
            markup=False,
        )
        return 2
    when, before = datetime.now(UTC), facts()
    console.print(
        f"{before.cpu}, {before.cores} cores, Linux {before.kernel}, {before.system}, "
        f"Python {before.python}, load {before.load[0]:.2f}",
        markup=False,
    )
    runs = []
    for name in arguments or available():
        console.print(f"... {name}", style="dim", markup=False)
        runs.append(run_one(name))
    console.print(table(runs))
    for run in runs:
        if run.skipped:
            console.print(f"{run.name}: skipped: {run.skipped}", style="yellow", markup=False)
        if run.error:
            console.print(f"{run.name}: failed\n{run.error}", style="red", markup=False)
    path = write(runs, before, facts(), when)
    targets = [item.met for run in runs for item in run.measurements if item.met is not None]
    console.print(
        f"{sum(targets)} of {len(targets)} targets met; written to {path.relative_to(RESULTS.parent)}",
        markup=False,
    )
    return 1 if any(run.error for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
