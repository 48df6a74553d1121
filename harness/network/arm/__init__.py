"""ARM resources into the network model: one module for each family of resource types."""
