"""Where a matrix sends to: the address of every target, found once before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable

from harness.diagnosis.azure_view import AzureView
from harness.diagnosis.ends import Ends, Party
from harness.environment import Environment, is_address
from harness.errors import AzreachError, InputError
from harness.transport.session import Sessions


def find_addresses(
    environment: Environment, sessions: Sessions, wanted: Iterable[tuple[str, int | None]]
) -> tuple[dict[tuple[str, int | None], str], dict[tuple[str, int | None], str]]:
    """(target, family) -> its address, and -> why there is none.

    What the environment file and the snapshot do not know, the machine itself is asked for, all at
    once. Raises SnapshotError for a snapshot that cannot be used.
    """
    ends = Ends(environment, sessions, AzureView(environment))
    keys = list(dict.fromkeys(wanted))
    known, unknown = _look_up(ends, keys, {})
    asked = dict.fromkeys(name for name, _ in unknown if not is_address(name))
    if not asked:
        return known, unknown
    opened = sessions.open_many(asked)
    parties = {
        name: Party(name, name, problem=session.message)
        if isinstance(session, AzreachError)
        else Party(name, name, session.agent)
        for name, session in opened.items()
    }
    found, still_unknown = _look_up(ends, list(unknown), parties)
    return known | found, still_unknown


def _look_up(
    ends: Ends, keys: list[tuple[str, int | None]], parties: dict[str, Party]
) -> tuple[dict[tuple[str, int | None], str], dict[tuple[str, int | None], str]]:
    known: dict[tuple[str, int | None], str] = {}
    unknown: dict[tuple[str, int | None], str] = {}
    for name, family in keys:
        party = parties.get(name) or Party(name, None if is_address(name) else name)
        try:
            known[name, family] = str(ends.address(party, family))
        except InputError as error:
            unknown[name, family] = error.message
        except AzreachError as error:
            if party.agent is None:
                raise  # the snapshot, not the machine
            unknown[name, family] = error.message
    return known, unknown
