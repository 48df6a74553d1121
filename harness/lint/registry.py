"""All checks, by their stable ids, and a run over some of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from harness.errors import UnknownNameError
from harness.lint import exposure, outbound, paths, peerings, routes, rules, spaces
from harness.lint.finding import Check, LintFinding
from harness.lint.survey import Survey
from harness.network.model import Network, key
from harness.policy.compiled import Compiled
from harness.text import plain

CHECKS: tuple[Check, ...] = (
    *rules.CHECKS,
    *exposure.CHECKS,
    *routes.CHECKS,
    *peerings.CHECKS,
    *paths.CHECKS,
    *outbound.CHECKS,
    *spaces.CHECKS,
)


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> tuple[Check, ...]:
    """The checks of ``select`` (all where it is empty) without those of ``ignore``.

    Both hold ids or families (``nsg``); raises UnknownNameError for what is neither.
    """
    wanted, unwanted = _named(select), _named(ignore)
    return tuple(item for item in CHECKS if (not wanted or item.id in wanted) and item.id not in unwanted)


def _named(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        matching = {item.id for item in CHECKS if item.id == name or item.id.startswith(f"{name}/")}
        if not matching:
            families = {item.id.partition("/")[0] for item in CHECKS}
            known = [*(item.id for item in CHECKS), *sorted(families)]
            near = difflib.get_close_matches(name, known, 1)
            raise UnknownNameError(
                f"no check '{plain(name)}'",
                hint=f"did you mean '{near[0]}'?" if near else "`azreach lint --list` names all checks",
            )
        found |= matching
    return found


def lint(network: Network | Compiled, checks: Sequence[Check] = CHECKS) -> tuple[LintFinding, ...]:
    """What ``checks`` find, ordered by object, the most severe first, each once.

    A :class:`~harness.policy.compiled.Compiled` brings the options and service tags to judge by.
    """
    survey = Survey(network if isinstance(network, Compiled) else Compiled(network))
    found = dict.fromkeys(finding for item in checks for finding in item(survey))
    return tuple(
        sorted(found, key=lambda item: (key(item.object_id), item.severity.rank, item.check, item.reason))
    )
