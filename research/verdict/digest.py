"""Stores the digest of a branch when a run is judged, so that summary and archive are read at once.

A stored one names the state of the rows that it was made from, and is made anew when they have changed. Only making it
loads the posterior.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from research.core.contract import PROFILES
from research.core.errors import ResearchError
from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.store import reads
from research.store.db import Store
from research.verdict.models import Configuration, Conjecture, Digest, Elite, FailurePattern, Memory
from research.verdict.noise import OFFICIAL, POCKET, Noise, Spread

_FORMAT = 10  # number of the stored digests' format; another one makes every stored digest stale
_FACT = "digest:"


def read_digest(
    store: Store, branch: str, profile: str = PROFILES[0], memory: Memory | None = None, contract: str | None = None
) -> Digest:
    """Return the digest of a branch: the stored one if the rows are still those, else one made from them and stored.

    Args:
        store: The memory.
        branch: The branch.
        profile: The profile that a run would have here, whose noise is assumed before any run.
        memory: The memory of the branch, where it is made already.
        contract: Another contract than the one that the branch was kept in last; its digest is not stored.
    """
    settings = hashlib.sha256(repr(sorted(vars(SETTINGS).items())).encode()).hexdigest()[:12]
    key = f"{_FORMAT}/{settings}/{reads.state_key(store)}"
    assumed = (OFFICIAL if profile == PROFILES[0] else POCKET).noise
    digest = _read(store.fact(_FACT + branch), key)
    if digest is None or contract not in (None, digest.contract):
        history = reads.history(store) if memory is None else ()
        if memory is None and not history:
            return Digest(branch=branch, contract=None, noise=assumed)
        from research.verdict.memory import recall

        digest = digest_of(memory or recall(history, branch, contract))
        if contract is None:
            text = json.dumps({"key": key, "digest": asdict(digest)}, ensure_ascii=False)
            with contextlib.suppress(ResearchError):  # somebody else writes, or the disk is full: the next one stores
                store.set_fact(_FACT + branch, text)
    # Nothing was measured on this branch, whatever was on others: no run says of which profile its noise is.
    return digest if digest.contract else replace(digest, noise=assumed)


def _read(text: str | None, key: str) -> Digest | None:
    """Return a stored digest, None if it is stale or can't be read."""
    try:
        plain = json.loads(text or "{}")
        return _from_plain(plain["digest"]) if plain["key"] == key else None
    except (ValueError, KeyError, TypeError):
        return None


def _from_plain(plain: Mapping[str, Any]) -> Digest:
    values = dict(plain)
    for name in ("baseline", "best", "incumbent"):
        values[name] = _configuration(values[name]) if values[name] else None
    for name, kind in (("conjectures", Conjecture), ("elites", Elite), ("no_fly", FailurePattern)):
        values[name] = tuple(kind(**one) for one in values[name])
    values["near_misses"] = tuple(_configuration(one) for one in values["near_misses"])
    values["warnings"] = tuple(values["warnings"])
    values["noise"] = Noise(**{name: Spread(**one) for name, one in values["noise"].items()})
    values["change"] = Estimate(**values["change"]) if values["change"] else None
    return Digest(**values)


def _configuration(plain: Mapping[str, Any]) -> Configuration:
    estimates = {name: plain[name] and Estimate(**plain[name]) for name in ("estimate", "gain", "change")}
    return Configuration(**{**plain, **estimates, "runs": tuple(plain["runs"]), "seeds": tuple(plain["seeds"])})


def digest_of(memory: Memory) -> Digest:
    """Return the part of a memory that is stored."""
    return Digest(**{one.name: getattr(memory, one.name) for one in fields(Digest)})
