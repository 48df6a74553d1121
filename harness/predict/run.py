"""From a network to a table, file or picture: what ``azreach matrix --predict`` was asked for, in order.

:func:`check` tells what is wrong with a request before anything is loaded or computed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from harness.errors import InputError
from harness.outfile import check_writable, is_stream, replacing, writing
from harness.policy.compiled import Compiled
from harness.policy.portset import PortSet
from harness.predict.ends import chosen
from harness.predict.prediction import Prediction, predict
from harness.predict.rows import MEMBER_COLUMNS, Rows, members, rows_of_classes, rows_of_ends
from harness.text import plain


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"
    PNG = "png"
    SVG = "svg"

    @property
    def is_picture(self) -> bool:
        return self in (Format.PNG, Format.SVG)


@dataclass(frozen=True, slots=True)
class Request:
    """``sources`` and ``targets`` are patterns; neither given, the answer is told by classes.

    ``snapshot`` is what the network is called; it is not read here. ``asked`` and ``family`` None:
    everything, both. ``output`` None: standard output.
    """

    snapshot: Path
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    asked: PortSet | None = None
    family: int | None = None
    format: Format = Format.TABLE
    output: Path | None = None
    all_rows: bool = False

    @property
    def by_class(self) -> bool:
        return not self.sources and not self.targets


def format_of(name: str | None, output: Path | None) -> Format:
    """The format named, or that of the file's ending; a table without either. Raises InputError."""
    if name is not None:
        return Format(name.lower())
    if output is None:
        return Format.TABLE
    endings = {f".{kind.value}": kind for kind in Format if kind is not Format.TABLE} | {".txt": Format.TABLE}
    found = endings.get(output.suffix.lower())
    if found is None:
        raise InputError(
            f"{output}: its ending names no format",
            hint=f"end it with {', '.join(endings)}, or give --format",
        )
    return found


def check(request: Request) -> None:
    """Raises InputError for a request that no network could answer."""
    if request.output is not None:
        check_writable(request.output)
    elif request.format is Format.PARQUET or request.format.is_picture:
        raise InputError(f"--format {request.format} is for a file", hint="give --output FILE")
    to_stream = request.output is None or is_stream(request.output)
    if to_stream and request.by_class and request.format in (Format.CSV, Format.PARQUET):
        raise InputError(
            f"{request.format} by classes is two files, the answer and the classes' members",
            hint="give --output FILE, or list pairs of machines: --from '*'",
        )


def run(request: Request, view: Compiled, say: Callable[[str], None]) -> None:
    """Predicts and writes; ``say`` tells of files that were written. Raises InputError for wrong input."""
    prediction = predict(view, asked=request.asked, family=request.family)
    sources = chosen(prediction.ends, request.sources, "--from")
    targets = chosen(prediction.ends, request.targets, "--to")
    if request.format is Format.TABLE:
        _table(request, prediction, sources, targets, say)
    elif request.format.is_picture:
        _picture(request, prediction, sources, targets, say)
    else:
        _rows(request, prediction, sources, targets, say)


def _table(
    request: Request,
    prediction: Prediction,
    sources: Sequence[int],
    targets: Sequence[int],
    say: Callable[[str], None],
) -> None:
    from rich.console import Console
    from rich.text import Text

    from harness.predict.groups import digest_of_groups, digest_of_pairs
    from harness.predict.table import MAX_LINES, Descriptions, closing_lines, table_lines

    def print_to(stream: IO[str]) -> None:
        console = Console(highlight=False, soft_wrap=True, file=stream)
        descriptions = Descriptions(prediction)
        for answer in prediction.families:
            count = sum(map(len, answer.members))
            if request.by_class:
                digest = digest_of_groups(prediction, answer.merged(), MAX_LINES)
            else:
                digest = digest_of_pairs(prediction, answer, sources, targets, MAX_LINES)
            for line in table_lines(digest, descriptions):
                console.print(Text.assemble(*line))
            classes = len(answer.members) if request.by_class else None
            for text in closing_lines(digest, answer.family, count, classes):
                console.print(Text(text))

    if request.output is None:
        print_to(sys.stdout)
        return

    with writing(request.output) as stream:
        print_to(stream)
    say(f"{request.output}: the table")


def _picture(
    request: Request,
    prediction: Prediction,
    sources: Sequence[int],
    targets: Sequence[int],
    say: Callable[[str], None],
) -> None:
    from harness.predict.heatmap import MAX_ENDS, heat_map
    from harness.predict.picture import draw

    assert request.output is not None  # checked before anything was computed
    answer, *others = prediction.families
    if others:
        say(f"the picture shows IPv{answer.family}; --family {others[0].family} shows the other addresses")
    large = sum(map(len, answer.members)) > MAX_ENDS
    heat = heat_map(prediction, answer, sources, targets, by_class=request.by_class and large)
    if not heat.levels.size:
        raise InputError(
            f"there is nothing to draw: no IPv{answer.family} address on one of the sides",
            hint="choose others with --from, --to or --family",
        )
    title = f"{request.snapshot.name}: what passes" + (f" of {request.asked}" if request.asked else "")
    with replacing(request.output) as path:
        draw(heat, title, path, request.format.value)
    say(f"{request.output}: {len(heat.levels):,} by {len(heat.levels[0]):,} cells")


def _rows(
    request: Request,
    prediction: Prediction,
    sources: Sequence[int],
    targets: Sequence[int],
    say: Callable[[str], None],
) -> None:
    if request.by_class:
        families = tuple(answer.merged() for answer in prediction.families)
        prediction = Prediction(prediction.ends, families, prediction.asked)
        rows = rows_of_classes(prediction)
    else:
        rows = rows_of_ends(prediction, sources, targets)
    if not request.all_rows:
        rows.check()
    if request.output is None:
        _write_text(sys.stdout, request, prediction, rows)
        return

    if request.format is Format.PARQUET:
        from harness.predict.files import write_parquet

        with replacing(request.output) as path:
            write_parquet(path, rows)
    else:
        with writing(request.output) as stream:
            _write_text(stream, request, prediction, rows)
    say(f"{request.output}: {rows.count:,} rows")
    if request.by_class and request.format is not Format.JSON:
        from harness.predict.files import members_path

        beside = members_path(request.output)
        _write_members(beside, request.format, prediction)
        say(f"{beside}: who is in each class")


def _write_text(stream: IO[str], request: Request, prediction: Prediction, rows: Rows) -> None:
    from harness.predict.files import member_values, write_csv, write_json

    if request.format is Format.CSV:
        write_csv(stream, rows)
        return
    head: dict[str, object] = {
        "snapshot": plain(request.snapshot.name),
        "asked": str(request.asked) if request.asked is not None else None,
    }
    if request.by_class:
        head["members"] = [
            dict(zip(MEMBER_COLUMNS, member_values(member), strict=True)) for member in members(prediction)
        ]
    write_json(stream, rows, head)


def _write_members(beside: Path, kind: Format, prediction: Prediction) -> None:
    from harness.predict.files import write_members_csv, write_members_parquet

    if kind is Format.PARQUET:
        with replacing(beside) as path:
            write_members_parquet(path, members(prediction))
    else:
        with writing(beside) as stream:
            write_members_csv(stream, members(prediction))
