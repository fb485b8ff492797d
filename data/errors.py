"""What is wrong with a file that should be a picture."""

from __future__ import annotations


class BadImageError(ValueError):
    """A file that cannot be used as a picture; the message names it and says why."""
