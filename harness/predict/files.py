"""Rows as CSV, JSON and Parquet, batch by batch.

``first_port`` and ``last_port`` are empty
(null) for protocols without ports.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.errors import InputError
from harness.model import Protocol
from harness.predict.ends import End
from harness.predict.intervals import PORTLESS
from harness.predict.rows import MEMBER_COLUMNS, Batch, Rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROTOCOLS = tuple(protocol.value for protocol in Protocol)

Row = tuple[str | int | None, ...]
Member = tuple[int, End]


def plain_rows(rows: Rows) -> Iterator[Row]:
    """The rows as Python's own values."""
    for batch in rows.batches():
        sides = [
            [values[number] for number in numbers.tolist()]
            for numbers in (batch.source, batch.target)
            for values in rows.names.values()
        ]
        protocols = [PROTOCOLS[place] for place in batch.protocol.tolist()]
        hidden = _portless(batch).tolist()
        ports = (
            [None if none else port for port, none in zip(column.tolist(), hidden, strict=True)]
            for column in (batch.first, batch.last)
        )
        yield from zip(*sides, protocols, *ports, strict=True)


def _portless(batch: Batch) -> NDArray[np.bool_]:
    import numpy as np

    return np.isin(batch.protocol, PORTLESS)


def write_csv(stream: IO[str], rows: Rows) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(plain_rows(rows))


def write_members_csv(stream: IO[str], members: Iterable[Member]) -> None:
    """Several NSGs are separated by a space: their names have none."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(MEMBER_COLUMNS)
    for member in members:
        *values, nsgs = member_values(member)
        writer.writerow((*values, " ".join(nsgs)))


def member_values(member: Member) -> tuple[Any, ...]:
    """In the order of MEMBER_COLUMNS; the NSGs are a list."""
    number, end = member
    return number, end.name, end.nic, end.address, end.vnet, end.subnet, list(end.nsgs)


def write_json(stream: IO[str], rows: Rows, head: Mapping[str, object]) -> None:
    """One document: ``head``, then the rows, a line for each.

    ASCII only: whatever a name holds, terminals and the reader's encoding are safe from it.
    """
    stream.write(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "rows": [')
    separator = "\n  "
    for row in plain_rows(rows):
        stream.write(separator + json.dumps(dict(zip(rows.columns, row, strict=True))))
        separator = ",\n  "
    stream.write("\n ]\n}\n")


def write_parquet(path: Path, rows: Rows) -> None:
    """Names are dictionaries, ports are nullable. Raises InputError where pyarrow is not installed."""
    pa, parquet = _arrow()
    dictionaries = {
        suffix: pa.array(values, type=pa.string() if isinstance(values[0], str) else pa.int32())
        for suffix, values in rows.names.items()
    }
    protocols = pa.array(PROTOCOLS)

    def columns(batch: Batch) -> Iterator[Any]:
        for numbers in (batch.source, batch.target):
            for values in dictionaries.values():
                if values.type == pa.string():
                    yield pa.DictionaryArray.from_arrays(pa.array(numbers, type=pa.int32()), values)
                else:
                    yield values.take(pa.array(numbers))
        yield pa.DictionaryArray.from_arrays(pa.array(batch.protocol.astype("int32")), protocols)
        hidden = _portless(batch)
        for ports in (batch.first, batch.last):
            yield pa.array(ports, mask=hidden, type=pa.int32())

    text = pa.dictionary(pa.int32(), pa.string())
    kinds = [text if values.type == pa.string() else values.type for values in dictionaries.values()]
    schema = pa.schema(list(zip(rows.columns, [*kinds, *kinds, text, pa.int32(), pa.int32()], strict=True)))
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in rows.batches():
            writer.write_batch(pa.record_batch(list(columns(batch)), schema=schema))


def write_members_parquet(path: Path, members: Iterable[Member]) -> None:
    """``nsgs`` is a list."""
    pa, parquet = _arrow()
    schema = pa.schema(
        [
            (name, {"class": pa.int32(), "nsgs": pa.list_(pa.string())}.get(name, pa.string()))
            for name in MEMBER_COLUMNS
        ]
    )
    listed = [dict(zip(MEMBER_COLUMNS, member_values(member), strict=True)) for member in members]
    parquet.write_table(pa.Table.from_pylist(listed, schema=schema), path)


def members_path(path: Path) -> Path:
    """Where the members of the classes go: beside ``reach.csv`` in ``reach.members.csv``."""
    return path.with_name(f"{path.stem}.members{path.suffix}")


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"Parquet files need pyarrow ({error})", hint="pip install 'azreach[reports]', or write CSV"
        ) from error
    return pa, parquet
