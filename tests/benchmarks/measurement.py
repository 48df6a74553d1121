"""One measured number and what is expected of it: the words between the benchmarks and their runner.

A benchmark module returns ``dict[str, Measurement]``, or plain numbers, of which :func:`adapt` makes
measurements without a target. Not for measuring: that is the benchmark's own business.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real

# The ends of plain names that tell a unit ("request_ms", "up_100_s"); longer ends come first.
_UNITS = {
    "_per_second": "1/s",
    "_per_s": "1/s",
    "_gbps": "Gbit/s",
    "_mbps": "Mbit/s",
    "_percent": "%",
    "_ratio": "x",
    "_mib": "MiB",
    "_ms": "ms",
    "_us": "µs",
    "_s": "s",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number. ``ratio`` is this value by the peer's; ``met`` is None where there is no target."""

    name: str
    value: float
    unit: str = ""
    target: str | None = None
    peer: str | None = None
    ratio: float | None = None
    met: bool | None = None


def at_most(name: str, value: float, limit: float, unit: str) -> Measurement:
    """A value that must not exceed ``limit``."""
    return Measurement(name, value, unit, target=f"<= {limit:g} {unit}", met=value <= limit)


def at_least(name: str, value: float, limit: float, unit: str) -> Measurement:
    """A value that must reach ``limit``."""
    return Measurement(name, value, unit, target=f">= {limit:g} {unit}", met=value >= limit)


def against(
    name: str,
    value: float,
    unit: str,
    *,
    peer: str,
    peer_value: float,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Measurement:
    """A value next to that of a ``peer``, measured in the same run; the limits are of the ratio of both."""
    ratio = value / peer_value
    limits = [f"<= {at_most:g}"] if at_most is not None else []
    limits += [f">= {at_least:g}"] if at_least is not None else []
    met = (at_most is None or ratio <= at_most) and (at_least is None or ratio >= at_least)
    return Measurement(
        name,
        value,
        unit,
        target=f"{' and '.join(limits)} x {peer}" if limits else None,
        peer=f"{peer}: {peer_value:.4g} {unit}",
        ratio=ratio,
        met=met if limits else None,
    )


def adapt(module: str, results: Mapping[str, object]) -> list[Measurement]:
    """What a benchmark returned, as measurements named ``<module>.<name>``.

    Takes measurements, numbers, series of numbers (their median), and mappings: one with the fields of
    a measurement, or one that groups further results. Anything else is a TypeError.
    """
    measurements: list[Measurement] = []
    for key, value in results.items():
        name = f"{module}.{key}"
        if isinstance(value, Measurement):
            measurements.append(replace(value, name=name))
        elif isinstance(value, bool):
            measurements.append(Measurement(name, float(value), target="true", met=value))
        elif isinstance(value, Real):
            measurements.append(Measurement(name, float(value), _unit(key)))
        elif isinstance(value, Mapping):
            measurements += _of_mapping(name, value)
        elif isinstance(value, Sequence) and not isinstance(value, str) and value:
            measurements.append(Measurement(f"{name} (median)", statistics.median(value), _unit(key)))
        else:
            raise TypeError(f"{name}: a benchmark returns numbers or measurements, not {value!r}")
    return measurements


def _of_mapping(name: str, value: Mapping[str, object]) -> list[Measurement]:
    known = {field.name for field in fields(Measurement)}
    if "value" in value and set(value) <= known:
        # Written by hand in a benchmark: a wrong type shows as soon as the table is printed.
        return [Measurement(**{**value, "name": name})]  # type: ignore[arg-type]
    return adapt(name, value)


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
