"""Typed facts of a guest: what listens, what its firewall does. Readers for Linux."""
