# The shapes in which the azurerm provider reads attributes and blocks; plan.json is `terraform show -json`
# of its plan, made by Terraform 1.11.4 over the schema of azurerm 3.116 (the schema only, not the provider).

terraform {
  required_providers {
    azurerm = { source = "hashicorp/azurerm" }
  }
}
locals { tiers = { web = "10.1.1.0/24", app = "10.1.2.0/24" } }
resource "azurerm_resource_group" "rg" {
  name     = "rg"
  location = "westeurope"
}
resource "azurerm_virtual_network" "v" {
  name                = "v"
  resource_group_name = azurerm_resource_group.rg.name
  location            = "westeurope"
  address_space       = ["10.1.0.0/16"]
  subnet {
    name           = "inline"
    address_prefix = "10.1.9.0/24"
    security_group = azurerm_network_security_group.g.id
  }
}
resource "azurerm_subnet" "s" {
  for_each             = local.tiers
  name                 = each.key
  resource_group_name  = "rg"
  virtual_network_name = azurerm_virtual_network.v.name
  address_prefixes     = [each.value]
}
resource "azurerm_application_security_group" "a" {
  name                = "a"
  resource_group_name = "rg"
  location            = "westeurope"
}
resource "azurerm_network_security_group" "g" {
  name                = "g"
  resource_group_name = "rg"
  location            = "westeurope"
  security_rule {
    name                                  = "in"
    priority                              = 100
    direction                             = "Inbound"
    access                                = "Allow"
    protocol                              = "Tcp"
    source_port_range                     = "*"
    destination_port_range                = "80"
    source_application_security_group_ids = [azurerm_application_security_group.a.id]
    destination_address_prefix            = "*"
  }
  security_rule {
    name                       = "in2"
    priority                   = 200
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_port_range          = "*"
    destination_port_range     = "81"
    source_address_prefix      = "*"
    destination_address_prefix = "*"
  }
}
resource "azurerm_network_security_group" "dyn" {
  name                = "dyn"
  resource_group_name = "rg"
  location            = "westeurope"
  dynamic "security_rule" {
    for_each = { r1 = 100, r2 = 200 }
    content {
      name                       = security_rule.key
      priority                   = security_rule.value
      direction                  = "Inbound"
      access                     = "Allow"
      protocol                   = "Tcp"
      source_port_range          = "*"
      destination_port_range     = "81"
      source_address_prefix      = "*"
      destination_address_prefix = "*"
    }
  }
}
resource "azurerm_network_interface" "n" {
  for_each            = local.tiers
  name                = "n-${each.key}"
  resource_group_name = "rg"
  location            = "westeurope"
  ip_configuration {
    name                          = "c"
    subnet_id                     = azurerm_subnet.s[each.key].id
    private_ip_address_allocation = "Dynamic"
  }
}
resource "azurerm_linux_virtual_machine" "m" {
  for_each              = local.tiers
  name                  = "m-${each.key}"
  resource_group_name   = "rg"
  location              = "westeurope"
  size                  = "x"
  admin_username        = "x"
  network_interface_ids = [azurerm_network_interface.n[each.key].id]
  os_disk {
    caching              = "None"
    storage_account_type = "x"
  }
}
resource "azurerm_route_table" "t" {
  name                = "t"
  resource_group_name = "rg"
  location            = "westeurope"
  route {
    name                   = "r"
    address_prefix         = "0.0.0.0/0"
    next_hop_type          = "VirtualAppliance"
    next_hop_in_ip_address = azurerm_network_interface.n["web"].private_ip_address
  }
}
resource "azurerm_lb" "l" {
  name                = "l"
  resource_group_name = "rg"
  location            = "westeurope"
  sku                 = "Standard"
  frontend_ip_configuration {
    name      = "f1"
    subnet_id = azurerm_subnet.s["web"].id
  }
}
resource "azurerm_subnet_network_security_group_association" "x" {
  for_each                  = azurerm_subnet.s
  subnet_id                 = each.value.id
  network_security_group_id = azurerm_network_security_group.g.id
}
