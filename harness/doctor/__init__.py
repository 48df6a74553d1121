"""The first hour: can each machine be used, what will not be told about it, and a first environment file."""
