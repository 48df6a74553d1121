"""What can go wrong with a lab as such: raising it, finding it, changing it, taking it down.

Wrong input files are :class:`harness.errors.InputError`, as everywhere.
"""

from __future__ import annotations

from harness.errors import AzreachError


class LabError(AzreachError):
    """A lab that could not be raised, changed, reached or taken down."""


class RequirementError(LabError):
    """This machine lacks something that a lab needs; the hint says what to install or enable."""
