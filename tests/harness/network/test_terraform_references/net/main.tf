variable "name" {}
variable "subnet_id" {}
variable "subnet_ids" {}

resource "terraform_data" "vnet" {
  input = var.name
}

resource "terraform_data" "inner" {
  for_each = toset(["k1", "k2"])
  input    = var.subnet_id
}

resource "terraform_data" "element" {
  input = var.subnet_ids["y"]
}

output "id" {
  value = terraform_data.vnet.id
}

output "ids" {
  value = { for name, inner in terraform_data.inner : name => inner.id }
}

output "whole" {
  value = terraform_data.vnet
}
