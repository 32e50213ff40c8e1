"""Runs train.py's model with its kernels by Triton's interpreter, traced as torch.compile does, against plain PyTorch.

A program of its own, since Triton reads TRITON_INTERPRET when it is imported: python interpreted_kernels.py TRAIN_PY.
Prints JSON: the relative error of the loss and of each gradient.
"""

import json
import os
import sys

os.environ |= {"TRITON_INTERPRET": "1", "AUTORESEARCH_PROFILE": "pocket", "CUDA_VISIBLE_DEVICES": ""}

import torch
from triton.runtime import interpreter

from research.benchmark import attention, kernels
from tests.support.trainer import load_train

patch_tensor = interpreter._patch_lang_tensor


def patch_tensor_for_numpy(tensor, scope):
    """Triton 3.6 makes an index of an array of one value, which NumPy refuses from 2.4 on."""
    patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


interpreter._patch_lang_tensor = patch_tensor_for_numpy
VOCABULARY = 61  # a kernel's program is a Python call here, and there is one for each token
SMALL = {"DEPTH": "2", "PAIR_ROWS": "37", "T": "16", "COMPILE": "True"}


def grads_of(train, model, call):
    """The loss and every gradient of a step of a model, called in some way."""
    x, y = torch.randint(0, VOCABULARY, (2, 2, train.T), generator=torch.Generator().manual_seed(1))
    loss = call(x, y)
    loss.backward()
    named = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    return {"loss": loss.detach(), **named}


def errors(train, model):
    """Relative errors of the compiled model with kernels against the plain one."""
    got = grads_of(train, model, torch.compile(model, dynamic=False, fullgraph=True, backend="aot_eager"))
    for kernel in kernels.KERNELS:
        kernel.run = kernel.plain
    wanted = grads_of(train, model, model)
    # The floor is for gradients that all but cancel, such as 1e-5 for a residual factor.
    return {name: ((got[name] - wanted[name]).norm() / (wanted[name].norm() + 1e-3)).item() for name in wanted}


def main():
    """Prints what came of it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train = load_train(sys.argv[1], SMALL)
    windows = sorted({train.window_of(i) for i in range(train.DEPTH)})
    model = train.GPT(VOCABULARY, attention.sdpa(windows, 0.3, train.T, train.DEVICE))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    for kernel in kernels.KERNELS:
        kernel.run = kernel.fused
    print(json.dumps(errors(train, model)))


if __name__ == "__main__":
    main()
