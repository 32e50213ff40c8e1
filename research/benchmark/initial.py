"""Draws the initial values of a model's tensors, each by a generator of its own, so that one more changes no other.

A generator is seeded by the run's seed, the tensor's name, the layer and the shape. Two models that share a tensor's
name and shape start it alike, whatever else differs; a layer of a stacked tensor starts alike for any number of layers.
The same class of device gives the same values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch

Fill = Callable[[torch.Tensor, torch.Generator], object]


class InitialValues:
    """A source of tensors on a device, drawn by a run's seed, with hashes of what a model's parameters began with."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        self.hashes: dict[str, str] = {}  # short hash of what each parameter began with, by name

    def normal(self, name: str, shape: Sequence[int], sd: float, layers: Sequence[int] | None = None) -> torch.Tensor:
        """Return normal values of mean 0, fp32: (*shape), or (len(layers), *shape), each layer's its own."""
        return self._draw(name, shape, layers, lambda t, generator: t.normal_(generator=generator)) * sd

    def uniform(
        self, name: str, shape: Sequence[int], bound: float, layers: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Return values between -bound and bound, fp32: (*shape), or (len(layers), *shape), each layer's its own."""
        return self._draw(name, shape, layers, lambda t, generator: t.uniform_(-1, 1, generator=generator)) * bound

    def _draw(self, name: str, shape: Sequence[int], layers: Sequence[int] | None, fill: Fill) -> torch.Tensor:
        drawn = torch.empty((1 if layers is None else len(layers), *shape), device=self.device)
        for values, layer in zip(drawn, [-1] if layers is None else layers, strict=True):
            text = f"{self.seed} {name} {layer} {tuple(shape)}"
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
            fill(values, torch.Generator(self.device).manual_seed(seed))
        return drawn[0] if layers is None else drawn

    def record(self, model: torch.nn.Module) -> None:
        """Keep hashes of a model's parameters as they are now, which show which tensors of two runs began alike."""
        self.hashes = {name: hash_of(p.detach()) for name, p in model.named_parameters()}


def hash_of(tensor: torch.Tensor) -> str:
    """Return a short hash of a tensor's shape and bits, summed on its own device, the same in any order."""
    bits = tensor.contiguous().view(torch.int16 if tensor.element_size() == 2 else torch.int32).flatten().long()
    place = torch.arange(1, bits.numel() + 1, device=bits.device)
    mixed = (bits + 0x632BE5AB) * (place * 0x4F1BBCDCBFA53E0B | 1)  # odd factors, int64 that wraps around
    mixed ^= mixed >> 31
    total = int((mixed * 0x1CE4E5B9BF58476D).sum())
    return hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype} {total}".encode()).hexdigest()[:12]
