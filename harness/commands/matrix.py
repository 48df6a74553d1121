"""``azreach matrix``: who reaches whom, many flows at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import chosen_policy, environment_options, loaded, policy_options
from harness.errors import AzreachError, InputError

if TYPE_CHECKING:
    from harness.environment import Environment
    from harness.matrix.expectation import Comparison
    from harness.matrix.journal import Journal
    from harness.matrix.question import Question
    from harness.matrix.result import MatrixResult
    from harness.matrix.runner import Limits


LIVE_ONLY = ("env_file", "lab", "ipv6", "expect", "csv_file", "resume", "rate", "parallel", "timeout")
FORMATS = ("table", "csv", "json", "parquet", "png", "svg")
PREDICT_ONLY = ("family", "format_name", "output", "all_rows", "service_tags_file", "assumptions")


class MatrixInterrupted(AzreachError):
    """Ctrl-C; what was asked so far is in the journal."""

    exit_status = 130


@click.command()
@environment_options
@click.option(
    "--from", "sources", metavar="GLOB", multiple=True, help="Sources: machines [default: all]. Repeatable."
)
@click.option(
    "--to",
    "targets",
    metavar="GLOB",
    multiple=True,
    help="Targets: machines, or an address [default: all machines]. Repeatable.",
)
@click.option(
    "--ports",
    "--port",
    metavar="LIST",
    multiple=True,
    help="22,80,1433/tcp,53/udp,8000-8010 [default: each target's services and declared flows; all"
    " with --predict].",
)
@click.option("--icmp", is_flag=True, help="An echo request to every target too.")
@click.option("--ipv6", is_flag=True, help="Use the targets' IPv6 addresses.")
@click.option("--expect", is_flag=True, help="Compare with the environment file's flows.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write every flow to this file.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output, and nothing else there."
)
@click.option(
    "--resume",
    "resume",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The journal: go on where it stopped; a new file begins one.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100_000),
    default=1000.0,
    show_default=True,
    help="Flows a second from each source.",
)
@click.option(
    "--parallel", type=click.IntRange(1, 512), default=32, show_default=True, help="Sources at a time."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.05, 60),
    default=2.0,
    show_default=True,
    help="Seconds of silence that count as no answer.",
)
@click.option(
    "--predict",
    "snapshot",
    metavar="SNAPSHOT",
    type=click.Path(path_type=Path),
    help="Send nothing: say what the configuration in SNAPSHOT lets pass. The options below are for this.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS, case_sensitive=False),
    help="[default: by the ending of --output, else table].",
)
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--family", type=click.Choice(["4", "6"]), help="Only this IP version [default: both].")
@click.option("--all", "all_rows", is_flag=True, help="Write files of more than 10 million rows, too.")
@policy_options
@click.pass_context
def matrix(
    ctx: click.Context,
    env_file: Path | None,
    lab: str | None,
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    ports: tuple[str, ...],
    icmp: bool,
    ipv6: bool,
    expect: bool,
    csv_file: Path | None,
    as_json: bool,
    resume: Path | None,
    rate: float,
    parallel: int,
    timeout: float,
    snapshot: Path | None,
    format_name: str | None,
    output: Path | None,
    family: str | None,
    all_rows: bool,
    assumptions: tuple[str, ...],
    service_tags_file: Path | None,
) -> None:
    """Who reaches whom? Real traffic between every pair of machines, as a table, CSV or JSON.

    \b
    azreach matrix --lab three-tier
    azreach matrix --env prod.yaml --from "web-*" --to "db-*" --ports 22,1433 --csv who.csv
    azreach matrix --env prod.yaml --expect --resume night.journal
    azreach matrix --predict prod.json --output who.png
    azreach matrix --predict prod.json --from "web-*" --to 10.2.0.0/16 --ports 1433 --output who.parquet

    Each source is asked by its own agent, at a bounded rate. Results are written to a journal as they
    come; after an interruption the same command with --resume goes on. A datagram that nobody
    answered is unconfirmed: neither open nor closed.

    With --predict nothing is sent and no environment is needed: the exact sets of ports that pass, by
    classes of addresses that nothing tells apart, or with --from and --to for every pair. These may name
    VMs, NICs, addresses and prefixes. Files have a row for each interval of ports: source,
    source_address, target, target_address, protocol, first_port, last_port; by classes source_class and
    target_class stand for the first four, and who is in each is in a second file (who.members.csv).

    Exit status: 0 every flow got through (with --expect: all is as declared; with --predict: always), 1
    not every one, 2 wrong use, 3 some could not be asked, or UDP without an answer leaves it open.
    """
    _check_mode(ctx, predicting=snapshot is not None)
    if snapshot is not None:
        from harness.matrix.question import parse_ports
        from harness.policy.compiled import Compiled
        from harness.predict.portwords import asked_ports
        from harness.predict.run import Request, check, format_of, run

        if as_json and format_name not in (None, "json"):
            raise InputError(f"--json and --format {format_name} exclude each other")
        request = Request(
            snapshot,
            sources,
            targets,
            asked=asked_ports((ask for words in ports for ask in parse_ports(words)), icmp),
            family=int(family) if family else None,
            format=format_of("json" if as_json else format_name, output),
            output=output,
            all_rows=all_rows,
        )
        check(request)
        options, service_tags = chosen_policy(assumptions, service_tags_file)
        run(request, Compiled(loaded(snapshot, service_tags), options, service_tags), _say)
        return

    from harness.commands.options import chosen_environment
    from harness.matrix.expectation import compare, expectations
    from harness.matrix.question import build_question, parse_ports
    from harness.matrix.runner import Limits
    from harness.matrix.summary import exit_status
    from harness.outfile import check_writable

    environment = chosen_environment(env_file, lab)
    question = build_question(
        environment,
        sources=sources,
        targets=targets,
        ports=[ask for words in ports for ask in parse_ports(words)],
        icmp=icmp,
        family=6 if ipv6 else None,
    )
    expected = expectations(environment.expected_flows(), question.flows()) if expect else None
    if csv_file is not None:
        check_writable(csv_file)
    with _journal(resume, question) as journal:
        begun = time.monotonic()
        found = _survey(environment, question, journal, Limits(rate, parallel, timeout))
        comparison = compare(expected, found) if expected is not None else None
        _show(found, comparison, time.monotonic() - begun, csv_file, as_json)
        if resume is None and found.unasked and found.results:
            _say(f"azreach: to ask the rest later: the same command and --resume {journal.path}")
            journal.keep = True
    ctx.exit(exit_status(found, comparison))


def _check_mode(ctx: click.Context, *, predicting: bool) -> None:
    """Real traffic and prediction have their own options. Raises InputError for one of the other mode."""
    for parameter in ctx.command.params:
        other = LIVE_ONLY if predicting else PREDICT_ONLY
        given = ctx.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name in other:
            problem = "does not go with --predict" if predicting else "goes with --predict only"
            hint = {"csv_file": "write --output FILE.csv", "ipv6": "write --family 6"}
            raise InputError(f"{parameter.opts[0]} {problem}", hint=hint.get(parameter.name, ""))


@contextlib.contextmanager
def _journal(named: Path | None, question: Question) -> Iterator[Journal]:
    """The journal of a run. One that nobody named goes with the run, unless it broke off with results."""
    from harness.matrix.journal import Journal, JournalError
    from harness.matrix.place import new_journal_path

    with Journal(named or new_journal_path(), question) as journal:
        journal.keep = named is not None
        how = f"the same command and --resume {journal.path}"
        try:
            yield journal
        except (KeyboardInterrupt, AzreachError) as error:
            journal.keep = journal.keep or journal.has_results
            if isinstance(error, KeyboardInterrupt):
                kept = "; the results so far are kept" if journal.has_results else ""
                hint = f"go on with {how}" if journal.keep else ""
                raise MatrixInterrupted(f"interrupted{kept}", hint=hint) from None
            if journal.has_results and not isinstance(error, JournalError):
                _say(f"azreach: the results are kept; {how} asks only for what is missing")
            raise
        finally:
            if not journal.keep:
                journal.remove()


def _survey(environment: Environment, question: Question, journal: Journal, limits: Limits) -> MatrixResult:
    from harness.matrix.progress import progress_bar
    from harness.matrix.survey import survey

    with progress_bar(question.count) as advance:
        return survey(environment, question, journal, limits, advance)


def _show(
    found: MatrixResult, comparison: Comparison | None, seconds: float, csv_file: Path | None, as_json: bool
) -> None:
    if csv_file is not None:
        from harness.matrix.document import write_csv

        write_csv(csv_file, found)
    if as_json:
        from harness.matrix.document import matrix_document, to_json

        click.echo(to_json(matrix_document(found, comparison)))
        return
    import sys

    from rich.console import Console
    from rich.text import Text

    from harness.matrix.summary import summary_lines
    from harness.matrix.table import look_for, table_lines

    console = Console(highlight=False, soft_wrap=True)
    width = console.width if console.is_terminal else None
    for line in table_lines(found, look_for(sys.stdout.encoding, width)):
        console.print(Text.assemble(*line))
    for text in summary_lines(found, comparison, seconds):
        console.print(Text(text))


def _say(message: str) -> None:
    from harness.text import plain

    click.echo(plain(message), err=True)
