"""Connections to machines behind one small interface, and the sessions of their resident agents."""
