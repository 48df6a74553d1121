"""The ``azreach`` command: finds its sub-commands, and turns errors into messages and exit statuses.

Exit status: 0 healthy or allow; 1 a fault or deny; 2 wrong use, or an environment that
cannot be reached; 3 inconclusive; 130 interrupted. Sub-commands are imported when they are
asked for, so that ``azreach --help`` stays quick; other packages add theirs through the
entry-point group ``azreach.commands``.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import NoReturn

import click

from harness import __version__
from harness.errors import AzreachError

_COMMANDS = {
    "causes": "harness.commands.causes:causes",
    "diagnose": "harness.commands.diagnose:diagnose",
    "diff": "harness.commands.diff:diff",
    "doctor": "harness.commands.doctor:doctor",
    "env": "harness.commands.env:env",
    "explain": "harness.commands.explain:explain",
    "lint": "harness.commands.lint:lint",
    "matrix": "harness.commands.matrix:matrix",
    "probe": "harness.commands.probe:probe",
    "traceroute": "harness.commands.traceroute:traceroute",
}

INTERRUPTED = 130


class _Commands(click.Group):
    """The commands of the harness and those of other packages, each imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted({*_COMMANDS, *(point.name for point in entry_points(group="azreach.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name].partition(":")
            command = getattr(importlib.import_module(module), attribute)
        else:
            point = next(iter(entry_points(group="azreach.commands", name=cmd_name)), None)
            if point is None:
                return None
            try:
                command = point.load()
            except Exception as error:  # noqa: BLE001 - another package's fault must not take our commands away
                return _unusable(cmd_name, error)
        assert isinstance(command, click.Command)
        return command


def _unusable(name: str, error: Exception) -> click.Command:
    """Stands in for a command that cannot be imported, and says so when it is called."""
    problem = f"cannot be loaded: {error}"

    def refuse() -> NoReturn:
        raise click.ClickException(f"the command '{name}' {problem}")

    return click.Command(name, callback=refuse, help=problem, add_help_option=False)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="azreach", message="%(prog)s %(version)s")
def cli() -> None:
    """Network reachability tests for Azure VMs: real packets, the cause, and the fix.

    \b
    azreach diagnose web-01 db-01:1433/tcp --env FILE     why can web-01 not reach db-01?
    azreach explain SNAPSHOT --from A --to B ...          what the configuration says
    azreach lab up three-tier                             a small Azure on this machine
    """


def _fail(message: str, status: int) -> NoReturn:
    from harness.text import plain_lines

    print(plain_lines(message), file=sys.stderr, flush=True)
    # a daemon thread may still hold a connection; nothing of ours needs an orderly interpreter exit
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line; never returns, never shows a traceback for wrong input."""
    if hasattr(sys.stdout, "reconfigure"):
        # a terminal that cannot show a character gets its escape, not a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        sys.stdout.flush()
    except AzreachError as error:
        _fail(f"azreach: {error}", error.exit_status)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("azreach: interrupted", INTERRUPTED)
    except BrokenPipeError:
        # the reader of our output has gone (`azreach causes | head`): end quietly, as other tools do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        _fail(
            f"azreach: {error.filename or 'the output'}: {error.strerror or error}", AzreachError.exit_status
        )
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
