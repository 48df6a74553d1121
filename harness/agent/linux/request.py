"""A request's parameters, checked, and its one answer."""

from harness.agent.linux.words import OpError, packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from harness.agent.linux.agent import Agent
    from harness.agent.linux.reactor import Reactor

REQUIRED = object()


class Params:
    """The parameters of one request, checked; ``done`` refuses what no one asked for."""

    def __init__(self, data: "dict[str, Any]", where: str = "") -> None:
        self.data = dict(data)
        self.where = where

    def bad(self, name: str, expected: str) -> "OpError":
        return OpError("bad-request", "'%s%s': expected %s" % (self.where, name, expected))

    def take(self, name: str, default: "Any") -> "Any":
        value = self.data.pop(name, None)
        if value is None and default is REQUIRED:
            raise OpError("bad-request", "'%s%s' is required" % (self.where, name))
        return default if value is None else value

    def integer(self, name: str, low: int, high: int, default: "Any") -> "Any":
        value = self.take(name, default)
        if value is default:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(name, "a whole number from %d to %d" % (low, high))
        return value

    def seconds(self, name: str, default_ms: int, high_ms: int = 600000) -> float:
        """A time given in milliseconds."""
        value = self.take(name, default_ms)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high_ms:
            raise self.bad(name, "milliseconds from 0 to %d" % high_ms)
        return value / 1000.0

    def text(self, name: str, default: "Any", limit: int = 4096) -> "Any":
        value = self.take(name, default)
        if value is default:
            return value
        if not isinstance(value, str) or len(value) > limit or "\0" in value:
            raise self.bad(name, "text of at most %d characters" % limit)
        return value

    def choice(self, name: str, choices: "tuple[str, ...]", default: "Any") -> str:
        value = self.text(name, default)
        if value not in choices:
            raise self.bad(name, "one of %s" % ", ".join(choices))
        return str(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.bad(name, "true or false")
        return value

    def address(self, name: str, default: "Any") -> "Any":
        value = self.text(name, default, 100)
        if value is default:
            return value
        try:
            packed(value)
        except (OSError, ValueError):
            raise self.bad(name, "an IP address") from None
        return value

    def array(self, name: str, default: "Any", limit: int = 100000) -> "Any":
        value = self.take(name, default)
        if value is default:
            return value
        if not isinstance(value, list) or len(value) > limit:
            raise self.bad(name, "a list of at most %d" % limit)
        return value

    def texts(self, name: str, default: "Any", limit: int = 1000) -> "Any":
        value = self.array(name, default, limit)
        if value is not default and not all(isinstance(item, str) and "\0" not in item for item in value):
            raise self.bad(name, "a list of texts")
        return value

    def done(self) -> None:
        if self.data:
            raise OpError("bad-request", "unknown parameter '%s%s'" % (self.where, sorted(self.data)[0]))


class Answer:
    """The one answer that a request gets; later ones are dropped."""

    def __init__(self, agent: "Agent", number: "Any") -> None:
        self.agent = agent
        self.number = number
        self.given = False

    def ok(self, result: "dict[str, Any]") -> None:
        self.give({"id": self.number, "ok": True, "result": result})

    def fail(self, kind: str, message: str) -> None:
        self.give({"id": self.number, "ok": False, "error": {"type": kind, "message": message}})

    def give(self, document: "dict[str, Any]") -> None:
        if not self.given:
            self.given = True
            self.agent.send(document)


def without_nulls(row: "dict[str, Any]") -> "dict[str, Any]":
    return {name: value for name, value in row.items() if value is not None}


class Waiter:
    """A request that is answered when a condition holds or its time is over, whichever is first."""

    def __init__(
        self,
        reactor: "Reactor",
        answer: "Answer",
        wait: float,
        condition: "Callable[[], bool]",
        report: "Callable[[], dict[str, Any]]",
    ) -> None:
        self.answer = answer
        self.condition = condition
        self.report = report
        self.timer = reactor.after(wait, self.give, answer)

    def check(self) -> bool:
        if not self.answer.given and self.condition():
            self.give()
        return self.answer.given

    def give(self) -> None:
        self.timer.cancel()
        self.answer.ok(self.report())
