# What consumers of terraform_data write in place of the ids of azurerm resources; plan.json is
# `terraform show -json` of its plan (Terraform 1.11.4, no provider needed).

variable "nics" {
  default = {
    a = { subnet = "x", number = 1 }
    b = { subnet = "y", number = 2 }
  }
}

variable "zone" {
  default = "x"
}

locals {
  first = terraform_data.subnet["x"].id
}

resource "terraform_data" "subnet" {
  for_each = toset(["x", "y"])
  input    = each.key
}

resource "terraform_data" "nic" {
  count = 2
  input = count.index
}

resource "terraform_data" "by_key" {
  for_each = toset(["x", "y"])
  input    = terraform_data.subnet[each.key].id
}

resource "terraform_data" "by_value" {
  for_each = var.nics
  input    = terraform_data.subnet[each.value.subnet].id
}

resource "terraform_data" "by_number" {
  count = 2
  input = terraform_data.nic[count.index].id
}

resource "terraform_data" "by_literal" {
  input = terraform_data.nic[1].id
}

resource "terraform_data" "splat" {
  input = terraform_data.nic[*].id
}

resource "terraform_data" "by_local" {
  input = local.first
}

resource "terraform_data" "listed" {
  input = [terraform_data.nic[1].id, terraform_data.nic[0].id]
}

resource "terraform_data" "through_each" {
  for_each = { for name, nic in var.nics : name => { subnet_id = terraform_data.subnet[nic.subnet].id } }
  input    = each.value.subnet_id
}

resource "terraform_data" "over_resources" {
  for_each = terraform_data.subnet
  input    = each.value.id
}

resource "terraform_data" "by_variable" {
  input = terraform_data.subnet[var.zone].id
}

resource "terraform_data" "conditional" {
  input = var.zone == "x" ? terraform_data.nic[0].id : null
}

module "net" {
  source     = "./net"
  for_each   = toset(["p", "q"])
  name       = each.key
  subnet_id  = terraform_data.subnet["x"].id
  subnet_ids = { for name, subnet in terraform_data.subnet : name => subnet.id }
}

resource "terraform_data" "output" {
  input = module.net["p"].id
}

resource "terraform_data" "output_element" {
  input = module.net["p"].ids["k1"]
}

resource "terraform_data" "output_by_key" {
  for_each = toset(["p", "q"])
  input    = module.net[each.key].whole.id
}

resource "terraform_data" "output_by_function" {
  input = lookup(module.net["p"].ids, "k1", null)
}
