"""Reads the attributes of one instance, known ones as they are and unknown ones by their references.

An attribute that is not known before apply and that the configuration does not mention is the
provider's to compute: it counts as absent, like null. One that the configuration computes is
followed where an id is wanted, and is an error everywhere else: a verdict must not rest on a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from harness.errors import SnapshotError
from harness.network.fields import Fields
from harness.network.terraform.document import Document, Instance
from harness.network.terraform.identities import Identities
from harness.network.terraform.references import References
from harness.network.terraform.traversal import steps, value_at
from harness.text import plain

_SHOWN_REFERENCES = 4


class Plan:
    """A document with what finds things in it."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.references = References(document)
        self.identities = Identities(document, self.references)
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """What a reader of the result has to know, each thing once."""
        self._notes[text] = None

    def attributes(self, instance: Instance) -> Attributes:
        expressions = self.references.configuration(instance).expressions
        return Attributes(self, instance, instance.fields, expressions)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of an instance, or of a block in it.

    ``expressions`` is the configuration at this level, None for a block that a ``dynamic`` one made:
    Terraform does not write those. ``whole`` is the expression of an attribute that blocks are
    written in (``security_rule``): all blocks share its references.
    """

    plan: Plan
    instance: Instance
    fields: Fields
    expressions: Fields | None
    whole: Fields | None = None

    @property
    def id(self) -> str:
        return self.plan.identities.of(self.instance)

    @property
    def name(self) -> str:
        """The name; of a block whose name is not known before apply, its place."""
        if self.fields.path and "name" not in self.fields.values:
            return self.fields.path
        name = self.fields.text("name")
        if "/" in name:
            self.fail("name", "holds a slash, which no Azure name does")
        return name

    def fail(self, name: str, problem: str, hint: str = "") -> NoReturn:
        raise SnapshotError(f"{self.fields.at(name)}: {problem}", hint=hint)

    def known(self, name: str) -> bool:
        return self.fields.has(name)

    def unknown(self, name: str) -> bool:
        """Whether apply will tell the value."""
        if name in self.fields.values:
            return False
        if self.instance.unknown is None:
            return True
        marks = value_at(self.instance.unknown, steps(self.fields.path))
        return marks is True or (isinstance(marks, Mapping) and marks.get(name) is True)

    def expression(self, name: str) -> Fields | None:
        """What the configuration computes ``name`` of, None where it says nothing or a constant."""
        if self.whole is not None:
            return self.whole
        value = self.expressions.values.get(name) if self.expressions is not None else None
        if not isinstance(value, Mapping) or not value.get("references"):
            return None
        assert self.expressions is not None
        return self.expressions.nested(name)

    def value(self, name: str) -> Any:
        """The known value, None for null, empty text and what the provider computes."""
        value = self.fields.values.get(name)
        if value is None and self.unknown(name) and (block := self.expression(name)) is not None:
            self._unknown(name, block)
        return None if value == "" else value

    def flag(self, name: str, *older: str, default: bool = False) -> bool:
        """A flag by its present name or one that it had in an earlier major version of the provider."""
        given = (
            self.fields.optional_flag(label) for label in (name, *older) if self.value(label) is not None
        )
        return next((value for value in given if value is not None), default)

    def texts(self, name: str) -> list[str]:
        """A list or set of strings, all of which must be known; empty where it is absent."""
        if self.value(name) is None:
            return []
        listed = self.fields.values[name]
        if isinstance(listed, list) and None in listed:
            self._unknown(name, self.expression(name))
        return list(self.fields.texts(name))

    def blocks(self, name: str) -> Iterator[Attributes]:
        """The nested blocks of that name, each with the configuration it was written in."""
        written = self.expressions.values.get(name) if self.expressions is not None else None
        if self.unknown(name):
            if isinstance(written, Mapping) and written.get("references"):
                self._unknown(name, self.expression(name))
            if isinstance(written, list) and written:
                self._unknown(name, None)
        found = list(self.fields.objects(name))
        for number, block in enumerate(found):
            expressions: Fields | None = None
            whole: Fields | None = None
            if isinstance(written, Mapping):
                whole = self.expression(name)
            elif isinstance(written, Sequence) and self.expressions is not None:
                expressions = self._written(list(self.expressions.objects(name)), block, number, len(found))
            yield Attributes(self.plan, self.instance, block, expressions, whole)

    @staticmethod
    def _written(written: list[Fields], block: Fields, number: int, count: int) -> Fields | None:
        """The block as the configuration has it; a set of blocks comes in another order than written."""
        named = [item for item in written if _constant(item, "name") == block.values.get("name")]
        if len(named) == 1 and block.has("name"):
            return named[0]
        return written[number] if len(written) == count else None

    def reference(self, name: str, *types: str, computed: bool = False) -> str | None:
        """The id in attribute ``name``, of an instance of one of ``types``.

        ``computed``: the provider fills the attribute where the configuration does not.
        """
        given = self.fields.optional_text(name)
        if given is not None:
            return given
        if not self.unknown(name):
            return None
        found = self.instances(name, *types)
        if not found and (inline := self._inline_subnet(name, types)) is not None:
            return inline
        if not found and (self._is_computed(name) if computed else self._is_absent(name)):
            return None
        if len(found) > 1:
            found = self._by_position(name, found)
        if len(found) != 1:
            self._unresolved(name, found, types)
        return self.plan.identities.of(found[0])

    def required(self, name: str, *types: str) -> str:
        found = self.reference(name, *types)
        if found is None:
            self.fail(name, "is missing")
        return found

    def id_list(self, name: str, *types: str) -> list[str]:
        """The ids in a list or set, known or followed."""
        values = self.fields.values.get(name)
        given: list[str] = []
        missing: int | None = None
        if name in self.fields.values:
            listed = [] if values is None else values
            if not isinstance(listed, list):
                self.fail(name, "is no list")
            present = [item for item in listed if item is not None]
            missing = len(listed) - len(present)
            given = list(
                Fields({name: present}, self.fields.origin, self.fields.owner, self.fields.path).texts(name)
            )
            if not missing:
                return given
        elif not self.unknown(name) or self.expression(name) is None:
            if self._from_dynamic(name):
                self._unresolved(name, (), types)
            return []
        return given + self._followed(name, types, {item.lower() for item in given}, missing)

    def _followed(self, name: str, types: Sequence[str], given: set[str], missing: int | None) -> list[str]:
        """The ids of the ``missing`` elements of a list; all that there can be if even that is unknown."""
        instances = self.instances(name, *types)
        found = [self.plan.identities.of(item) for item in instances]
        found = [item for item in found if item.lower() not in given]
        # blocks that share an expression do not tell whose its references are
        expected = missing or (1 if self.whole is not None else len(found))
        if not found or len(found) != expected:
            self._unresolved(name, instances, types)
        if missing is None and len(found) > 1:
            self.plan.note(
                f"{self.fields.at(name)}: is not known before apply: read as all of"
                f" {plain(', '.join(item.address for item in instances))}"
            )
        return found

    def instances(self, name: str, *types: str) -> tuple[Instance, ...]:
        """The instances of one of ``types`` that an unknown attribute can come from."""
        block = self.expression(name)
        if block is None:
            return ()
        followed = self.plan.references.follow(self.instance, block)
        return tuple(item for item in followed if item.type in types)

    def _inline_subnet(self, name: str, types: Sequence[str]) -> str | None:
        """The subnet that stands inside a virtual network, where that has only one."""
        if "azurerm_subnet" not in types:
            return None
        vnets = self.instances(name, "azurerm_virtual_network")
        blocks = [block for vnet in vnets for block in self.plan.attributes(vnet).blocks("subnet")]
        return f"{blocks[0].id}/subnets/{blocks[0].name}" if len(blocks) == 1 else None

    def _is_absent(self, name: str) -> bool:
        return self.expression(name) is None and not self._from_dynamic(name)

    def _is_computed(self, name: str) -> bool:
        """Whether the provider fills ``name``, which it also does where an expression gives null."""
        block = self.expression(name)
        if block is None or self.whole is not None:
            return True
        is_local = any(item.startswith("local.") for item in block.texts("references"))
        return not is_local and not self.plan.references.follow(self.instance, block)

    def _by_position(self, name: str, found: tuple[Instance, ...]) -> tuple[Instance, ...]:
        """An element of a list that the plan does not show, ``var.interfaces[count.index]``.

        Terraform lists references in the order in which they are written, so the n-th one is that
        of the n-th instance that has a reference at all.
        """
        block, instance = self.expression(name), self.instance
        if block is None or "count.index" not in block.texts("references"):
            return found
        siblings = self.plan.references.siblings(instance)
        path = steps(self.fields.path)
        open_ones = [
            item
            for item in siblings
            if isinstance(there := value_at(item.fields.values, path), Mapping) and name not in there
        ]
        if len(open_ones) != len(found) or instance not in open_ones:
            return found
        chosen = found[open_ones.index(instance)]
        self.plan.note(
            f"{self.fields.at(name)}: is not known before apply: read as {plain(chosen.address)},"
            f" as {_listed(block)} can be any of {len(found)} and this is the instance of the same place"
        )
        return (chosen,)

    def _from_dynamic(self, name: str) -> bool:
        """Whether the configuration of ``name`` is one that the document does not hold."""
        return (
            self.unknown(name)
            and self.expressions is None
            and self.whole is None
            and self.plan.document.is_plan
            and not self.instance.data
        )

    def _unknown(self, name: str, block: Fields | None) -> NoReturn:
        source = f" (it comes from {_listed(block)})" if block is not None else ""
        self.fail(
            name,
            f"is not known before apply{source}",
            "give it a value that a plan can know, or load the state after apply instead",
        )

    def _unresolved(self, name: str, found: Sequence[Instance], types: Sequence[str]) -> NoReturn:
        block, wanted = self.expression(name), " or ".join(types)
        if block is None:
            self.fail(
                name,
                "is not known before apply, and the plan does not hold the expressions of dynamic blocks",
                "write the block without dynamic, or load the state after apply instead",
            )
        hint = "refer to one resource, or load the state after apply instead"
        if any(item.startswith("local.") for item in block.texts("references")):
            hint = "a plan does not hold the expressions of locals: refer to the resource itself"
        if found:
            several = ", ".join(plain(item.address) for item in found[:_SHOWN_REFERENCES])
            problem = f"can be any of {len(found)} ({several}{', ...' * (len(found) > _SHOWN_REFERENCES)})"
        else:
            problem = f"leads to no {wanted} of the document"
        self.fail(name, f"is not known before apply, and {_listed(block)} {problem}", hint)


def _constant(block: Fields, name: str) -> Any:
    expression = block.values.get(name)
    return expression.get("constant_value") if isinstance(expression, Mapping) else None


def _listed(block: Fields | None) -> str:
    references = block.texts("references") if block is not None else ()
    more = ", ..." if len(references) > _SHOWN_REFERENCES else ""
    return plain(", ".join(references[:_SHOWN_REFERENCES]) + more)
