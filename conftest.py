"""What every test run in this repository shares. Not for fixtures: those stand next to their tests."""

from __future__ import annotations

# pytest takes this name from the topmost conftest only; the plugin's own tests need it.
pytest_plugins = ["pytester"]
