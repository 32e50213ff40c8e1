"""A small repository for the tests of this room."""

from __future__ import annotations

from tests.support.labkit import kit

__all__ = ["kit"]
