"""What a real Terraform writes as references is followed to the instances that a real Terraform means.

``test_terraform_references/plan.json`` is the plan of the configuration beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.network.terraform.attributes import Plan
from harness.network.terraform.document import read_document

RECORDED = Path(__file__).with_name("test_terraform_references") / "plan.json"

SUBNETS = ['terraform_data.subnet["x"]', 'terraform_data.subnet["y"]']
NICS = ["terraform_data.nic[0]", "terraform_data.nic[1]"]
INNER = ['module.net["p"].terraform_data.inner["k1"]', 'module.net["p"].terraform_data.inner["k2"]']


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(read_document(json.loads(RECORDED.read_text()), "plan.json"))


@pytest.mark.parametrize(
    ("address", "means"),
    [
        ('terraform_data.by_key["x"]', SUBNETS[:1]),
        ('terraform_data.by_key["y"]', SUBNETS[1:]),
        ('terraform_data.by_value["a"]', SUBNETS[:1]),
        ('terraform_data.by_value["b"]', SUBNETS[1:]),
        ("terraform_data.by_number[1]", NICS[1:]),
        ("terraform_data.by_literal", NICS[1:]),
        ("terraform_data.splat", NICS),
        ("terraform_data.listed", [NICS[1], NICS[0]]),
        ('terraform_data.through_each["a"]', SUBNETS[:1]),
        ('terraform_data.through_each["b"]', SUBNETS[1:]),
        ('terraform_data.over_resources["y"]', SUBNETS[1:]),
        ("terraform_data.by_variable", SUBNETS[:1]),
        ("terraform_data.conditional", NICS[:1]),
        ("terraform_data.output", ['module.net["p"].terraform_data.vnet']),
        ("terraform_data.output_element", INNER[:1]),
        ('module.net["q"].terraform_data.inner["k2"]', SUBNETS[:1]),
        ('module.net["q"].terraform_data.element', SUBNETS[1:]),
        # after a computed index the plan does not name the output, so that it can be any
        (
            'terraform_data.output_by_key["q"]',
            [
                'module.net["q"].terraform_data.vnet',
                'module.net["q"].terraform_data.inner["k1"]',
                'module.net["q"].terraform_data.inner["k2"]',
            ],
        ),
        # the plan holds neither the definition of a local nor the arguments of a function
        ("terraform_data.by_local", []),
        ("terraform_data.output_by_function", INNER),
    ],
)
def test_references_lead_to_what_the_expression_means(plan: Plan, address: str, means: list[str]) -> None:
    instances = {item.address: item for item in plan.document.instances}
    found = plan.attributes(instances[address]).instances("input", "terraform_data")
    assert [item.address for item in found] == means
