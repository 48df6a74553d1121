"""What is wrong with a network that no flow needs asking for: ``azreach lint``."""
