"""Terraform plans and states (azurerm provider) as the ARM resources that they make.

``resources_of`` and ``translation_of`` take what ``terraform show -json`` printed, parsed. They never
run Terraform, read no configuration files and ask no provider.
"""

from harness.network.terraform.translation import Translation, resources_of, translation_of

__all__ = ["Translation", "resources_of", "translation_of"]
