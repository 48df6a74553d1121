"""``python -m lab``: the same as ``azreach lab``, without looking for other commands."""

from __future__ import annotations

import sys

from harness.errors import AzreachError
from lab.commands import lab


def main() -> int:
    try:
        lab(prog_name="azreach lab")
    except AzreachError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
