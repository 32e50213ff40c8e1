"""Several labs on one memory, and labs that are killed: what one does at an odd instant of another's."""

from __future__ import annotations

import time

from support.labkit import Kit, kit

from research.places import Places
from research.store.open import read_store

__all__ = ["kit"]


def test_a_run_that_ended_while_its_repeat_was_being_prepared_is_not_made_again(kit: Kit):
    """The second launch looks for a repeat while the first one runs, and takes the device when that has ended."""
    kit.commit("base", extra="time.sleep(2 if 'AUTORESEARCH_TIME_BUDGET' in os.environ else 0.7)")
    first = kit.start()
    time.sleep(0.35)
    second = kit.run("--smoke")
    out, _ = first.communicate(timeout=60)
    with read_store(Places(kit.root)) as store:
        (run,) = store.runs()
    assert (second.end["outcome"], second.end["repeats"], second.code) == ("repeat", run.run, 0)
    assert second.out.encode() == out
