"""What runs on a VM, the contract that it keeps, and the typed client that speaks to it."""
