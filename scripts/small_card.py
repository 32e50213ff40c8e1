"""Runs train.py as on a smaller GPU than the one here: with less memory and, on request, without Hopper's kernels.

    uv run scripts/small_card.py 12 --plain
    AUTORESEARCH_TIME_BUDGET=20 uv run scripts/small_card.py 24

The argument is the memory in GB that cards are sold with. torch gets so much memory and no more, so that a run which
needs more fails as it would there. Speed is not emulated.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from research.benchmark import cards, kernels, offers  # noqa: E402

SEEN = {12: 11.6, 16: 15.6, 20: 19.6, 24: 23.6}  # GiB that torch sees of these
OLDER = (8, 6)  # compute capability of the RTX 30 series


def offer_of_older_cards(card: cards.Card, root: Path) -> offers.Offer:
    """Return what an older card than Hopper offers."""
    fitting = [one.name for one in kernels.KERNELS if one.capability <= OLDER]
    return offers.Offer(("flex", "sdpa"), tuple(sorted(fitting)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gb", type=int, choices=sorted(SEEN), help="of the card")
    parser.add_argument("--plain", action="store_true", help="FlexAttention, and no kernels made for Hopper")
    parser.add_argument("--script", type=Path, default=ROOT / "train.py", help="default: train.py")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("small_card: there is no CUDA device here to take memory from")
    total_gib = torch.cuda.get_device_properties(0).total_memory / 2**30
    if total_gib < SEEN[arguments.gb]:
        sys.exit(f"small_card: the GPU here has {total_gib:.1f} GiB: ask for less")
    torch.cuda.set_per_process_memory_fraction(SEEN[arguments.gb] / total_gib)
    if arguments.plain:
        offers.find = offer_of_older_cards
    card = cards.find()
    assert card is not None
    print(f"small_card: {card.memory_gib:.1f} GiB, {card.rows()} rows a forward", flush=True)
    started = time.perf_counter()
    try:
        runpy.run_path(str(arguments.script), run_name="__main__")
    finally:
        taken = torch.cuda.max_memory_reserved() / 2**30
        print(f"small_card: {time.perf_counter() - started:.0f} s in all, {taken:.1f} GiB reserved at most", flush=True)


if __name__ == "__main__":
    main()
