"""``python -m harness`` is the ``azreach`` command."""

from harness.cli import main

main()
