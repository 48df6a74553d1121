"""Options that several commands share: which environment, how often, how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from harness.environment import Environment
    from harness.network.model import Network
    from harness.network.service_tags import ServiceTags
    from harness.policy.decision import Options

Function = TypeVar("Function", bound=Callable[..., Any])

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0.05, 60),
    default=2.0,
    show_default=True,
    help="Seconds of silence that count as no answer.",
)


def environment_options(function: Function) -> Function:
    """``--env FILE`` and ``--lab NAME``."""
    function = click.option("--lab", metavar="NAME", help="A running lab: looks up its environment file.")(
        function
    )
    return click.option(
        "--env",
        "env_file",
        type=click.Path(path_type=Path),
        help="The environment file [default: $AZREACH_ENV, else the one running lab].",
    )(function)


def policy_options(function: Function) -> Function:
    """``--service-tags FILE`` and ``--assume NAME=VALUE``; :func:`chosen_policy` reads them."""
    function = click.option(
        "--assume",
        "assumptions",
        multiple=True,
        metavar="NAME=VALUE",
        is_eager=True,
        callback=_list_assumptions,
        help="A reading of what Azure's documents leave open; `--assume help` lists them.",
    )(function)
    return click.option(
        "--service-tags",
        "service_tags_file",
        type=click.Path(path_type=Path),
        help="Microsoft's service tags file (JSON), for rules and routes that name tags.",
    )(function)


def _assumptions() -> dict[str, tuple[str, ...]]:
    """The values of each, the default first."""
    from dataclasses import fields
    from typing import get_args, get_type_hints

    from harness.policy.decision import Options

    hints = get_type_hints(Options)
    return {item.name.replace("_", "-"): get_args(hints[item.name]) for item in fields(Options)}


def _list_assumptions(
    context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    if "help" in values:
        for name, choices in _assumptions().items():
            click.echo(f"{name}={'|'.join(choices)}")
        click.echo("The first value is the default.")
        context.exit(0)
    return values


def chosen_policy(
    assumptions: tuple[str, ...], service_tags_file: Path | None
) -> tuple[Options, ServiceTags | None]:
    """The policy engine's options and service tags; raises UsageError or InputError."""
    from harness.network.service_tags import load_service_tags
    from harness.policy.decision import Options
    from harness.text import plain

    known = _assumptions()
    chosen: dict[str, Any] = {}
    for text in assumptions:
        name, _, value = text.partition("=")
        if value not in known.get(name, ()):
            listed = "; ".join(f"{name}={'|'.join(choices)}" for name, choices in known.items())
            raise click.UsageError(f"--assume {plain(text)}: not one of: {listed}")
        chosen[name.replace("-", "_")] = value
    tags = load_service_tags(service_tags_file) if service_tags_file is not None else None
    return Options(**chosen), tags


def loaded(path: Path, service_tags: ServiceTags | None = None) -> Network:
    """The network that a file describes; what was assumed of it goes to standard error. Raises InputError."""
    from harness.network.load import load_sources
    from harness.network.snapshot import network_from_sources
    from harness.text import plain

    sources = load_sources(path)
    for note in (note for source in sources for note in source.notes):
        click.echo(f"note: {plain(note)}", err=True)
    network = network_from_sources(sources, plain(str(path)))
    say_unmodelled(network)
    say_undefined_tags(network, service_tags)
    return network


def say_undefined_tags(network: Network, service_tags: ServiceTags | None) -> None:
    """Service tags in rules that nothing defines, on standard error: no private address is one of theirs."""
    from harness.network.rules import AZURE_LOAD_BALANCER, INTERNET, VIRTUAL_NETWORK
    from harness.policy.tags import PLATFORM_TAGS
    from harness.text import plain

    built_in = {VIRTUAL_NETWORK.lower(), INTERNET.lower(), AZURE_LOAD_BALANCER.lower(), *PLATFORM_TAGS}
    known = built_in | set(service_tags.tags if service_tags is not None else ())
    undefined = {
        tag: rule.id
        for group in network.nsgs.values()
        for rule in group.rules
        for tag in (*rule.source.tags, *rule.destination.tags)
        if tag.lower() not in known
    }
    for tag, rule_id in sorted(undefined.items()):
        hint = "--service-tags FILE defines Azure's own" if service_tags is None else "not in the tags file"
        click.echo(
            f"note: service tag '{plain(tag)}' ({plain(rule_id)}) is not defined ({hint}); private addresses"
            " are taken to be none of it",
            err=True,
        )


def say_unmodelled(network: Network) -> None:
    """The types of resources that decide nothing here although they might in Azure, on standard error."""
    from collections import Counter

    from harness.text import plain

    kinds = Counter(kind for kind, _ in network.unmodelled)
    if kinds:
        listed = ", ".join(f"{plain(kind)} ({count})" for kind, count in sorted(kinds.items()))
        click.echo(f"note: in the network, and not modelled: {listed}", err=True)


def schedule_options(function: Function) -> Function:
    """``--count``, ``--duration`` and ``--interval``: how often a probe is made."""
    options = (
        click.option("--count", type=click.IntRange(1, 1000000), help="How many attempts  [default: 1]."),
        click.option(
            "--duration",
            type=click.FloatRange(0.001, 604800),
            help="Go on for so many seconds (Ctrl-C ends it).",
        ),
        click.option(
            "--interval",
            type=click.FloatRange(0, 3600),
            help="Seconds from one attempt to the next  [default: 1 with --duration, else 0].",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def chosen_environment(env_file: Path | None, lab: str | None) -> Environment:
    """The environment that the options mean; raises InputError."""
    from harness.environment import load_environment
    from harness.lookup import environment_path

    return load_environment(environment_path(env_file, lab))
