"""Holds every threshold of the control plane with its unit and reason, in a file for each room that decides by it.

Every other module asks SETTINGS here and need not know which file a field is in; no name is used twice. The classes
leave out the methods that nobody calls, since a dataclass takes longer to write them than to read all the values.
"""

from __future__ import annotations

from dataclasses import dataclass

from research.core.settings.agents import AgentSettings
from research.core.settings.report import ReportSettings
from research.core.settings.runs import RunSettings
from research.core.settings.search import SearchSettings
from research.core.settings.store import StoreSettings
from research.core.settings.verdict import VerdictSettings


@dataclass(frozen=True, repr=False, eq=False)
class Settings(StoreSettings, RunSettings, VerdictSettings, SearchSettings, AgentSettings, ReportSettings):
    """All thresholds; units are in the names, reasons next to the values."""


SETTINGS = Settings()
"""The values in use."""
