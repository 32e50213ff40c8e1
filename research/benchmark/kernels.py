"""Defines Triton kernels, each beside the plain PyTorch that it replaces. train.py calls them by name: kernels.mlp().

A call computes the plain function until check() has found that the kernel can be had here and gives the same results
and gradients at the shapes in use. Whoever wants something else than a kernel computes writes plain lines in train.py
in place of the call; score.json lists the kernels that ran.

Shapes: B rows, T tokens a row, N = B * T, C channels, H heads of D, V tokens in the vocabulary.
"""

import functools
import inspect
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

Function = Callable[..., Any]

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's interpreter runs kernels on a CPU, for tests
try:
    if not (torch.cuda.is_available() or INTERPRETED):
        raise ImportError("a CPU has no use for Triton, and importing it takes a second")
    import triton
    import triton.language as tl
    from triton.tools.tensor_descriptor import TensorDescriptor

    HAS_TRITON = True
    jit = triton.jit
except ImportError:
    HAS_TRITON = False

    class tl:  # type: ignore[no-redef]
        """A stand-in for triton.language where only the kernels' signatures are read."""

        constexpr = int

    def jit(function: Function) -> Function:
        """Leave a kernel that nobody will call as it is."""
        return function


# Operators: a function that torch.compile takes as one node


def operator(results: Function, backward: Function | None = None) -> Callable[[Function], Function]:
    """Make a function one node of the compiled graph: operator(results, backward)(fill).

    fill(inputs, /, results) writes into its results, which results(*inputs) allocates; inputs are tensors, None, or int
    or float where it says so. backward(*gradients, *inputs, *results) gives the inputs' gradients. Where the last
    results' names begin with _, they are the backward's, and who calls the operator gets the first result alone.

    torch's cache of compiled graphs knows operators by name alone. So a name ends in a sum of the file that defines the
    operator: an edited one is compiled anew, not run with the shapes or the backward of its old self.
    """

    def make(fill: Function) -> Function:
        def run(*inputs: Any) -> Any:
            out = results(*inputs)
            fill(*inputs, *(out if isinstance(out, tuple) else [out]))
            return out

        def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            kept = (*inputs, *(output if isinstance(output, tuple) else [output]))
            ctx.others = [None if torch.is_tensor(x) else x for x in kept]
            ctx.save_for_backward(*(x if torch.is_tensor(x) else None for x in kept))

        def differentiate(ctx: Any, *grads: torch.Tensor) -> Any:
            assert backward is not None
            kept = zip(ctx.saved_tensors, ctx.others, strict=True)
            return backward(*grads, *(other if x is None else x for x, other in kept))

        version = zlib.crc32(Path(fill.__code__.co_filename).read_bytes())
        name = f"benchmark::{fill.__name__}_{version:08x}"
        made = torch.library.custom_op(name, run, mutates_args=(), schema=schema_of(fill))
        made.register_fake(results)
        if backward:
            made.register_autograd(differentiate, setup_context=save)
        hides = list(inspect.signature(fill).parameters)[-1].startswith("_")
        return (lambda *inputs: made(*inputs)[0]) if hides else made

    return make


def schema_of(fill: Function) -> str:
    """Return the signature of fill(inputs, /, results) in torch.library's language."""
    parameters = inspect.signature(fill).parameters.values()
    inputs = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    kinds = {int: "int", float: "float", "int": "int", "float": "float"}
    taken = ", ".join(f"{kinds.get(p.annotation, 'Tensor?')} {p.name}" for p in inputs)
    made = ", ".join(["Tensor"] * (len(parameters) - len(inputs)))
    return f"({taken}) -> " + (made if made == "Tensor" else f"({made})")


# Choosing between a kernel and its plain twin

AGREEMENT = 0.02  # relative error of results and gradients; rounding to bf16 gives 0.003 to 0.006
CHECKED_ROWS = 2  # rows of the forward that is checked: one would not show an error that crosses rows


class Disagreement(Exception):
    """A function does not compute what its reference does."""


def check_agreement(function: Function, reference: Function, inputs: Sequence[Any]) -> None:
    """Raise Disagreement unless two functions have the same results and gradients, but for rounding.

    Inputs that require a gradient are differentiated.
    """
    leaves = [x for x in inputs if torch.is_tensor(x) and x.requires_grad]

    def answers(compute: Function) -> list[torch.Tensor]:
        out = compute(*inputs)
        out = out if isinstance(out, tuple) else (out,)
        generator = torch.Generator(out[0].device).manual_seed(0)
        grads = [torch.randn(y.shape, generator=generator, device=y.device).to(y.dtype) for y in out]
        return [*out, *torch.autograd.grad(out, leaves, grads)]

    for got, wanted in zip(answers(function), answers(reference), strict=True):
        error = (got - wanted).norm().item() / max(wanted.norm().item(), 1e-12)
        if not error <= AGREEMENT:  # as no number is
            raise Disagreement(f"its answers differ from the plain function's by {error:.3f}")


class Kernel:
    """A function of plain PyTorch that a Triton kernel, fused, may stand in for from a compute capability on."""

    def __init__(self, plain: Function, fused: Function, capability: tuple[int, int]) -> None:
        self.name, self.__doc__ = plain.__name__, plain.__doc__
        self.plain, self.fused, self.capability = plain, fused, capability
        self.run = plain  # the one of the two that a call computes

    def __call__(self, *inputs: Any) -> Any:
        """Compute the function."""
        return self.run(*inputs)


KERNELS: list[Kernel] = []


def kernel(fused: Function, capability: tuple[int, int] = (0, 0)) -> Callable[[Function], Kernel]:
    """Make a plain function one that a kernel may stand in for."""

    def make(plain: Function) -> Kernel:
        KERNELS.append(Kernel(plain, fused, capability))
        return KERNELS[-1]

    return make


def check(model: Function, vocab_size: int, length: int, device: torch.device, offered: Collection[str]) -> None:
    """Let kernels stand in for plain functions where they give the same: on this device, at the shapes of this model.

    Runs one small forward of the model. Each of the offered kernels that it calls is compared with its plain twin on
    random values in place of the call's; one that fails or disagrees is not used, and a line says why.
    """
    reasons: dict[str, str] = {}
    with _comparing(reasons, offered):
        ids = torch.arange(CHECKED_ROWS * length, device=device).view(CHECKED_ROWS, length)
        tokens = (ids * ids) % vocab_size  # squares: some tokens are more frequent than others, as in text
        model(tokens, tokens.roll(-1, 1))
    for one in KERNELS:
        if one.name in reasons and not reasons[one.name]:
            one.run = one.fused
        elif one.name in reasons:
            print(f"kernel {one.name} is not used: {reasons[one.name]}")


@contextmanager
def _comparing(reasons: dict[str, str], offered: Collection[str]) -> Iterator[None]:
    """Compute plain functions in all calls inside; `reasons` gets why a kernel can't be used, "" where it can.

    A kernel is compared once for all calls whose inputs have the same shapes.
    """
    seen: set[tuple[Any, ...]] = set()

    def compare(one: Kernel, *inputs: Any) -> Any:
        shapes = (one.name, *(tuple(x.shape) if torch.is_tensor(x) else x for x in inputs))
        if shapes not in seen and not reasons.get(one.name):
            reasons[one.name] = why_not(one, [_like(x) for x in inputs])
        seen.add(shapes)
        return one.plain(*inputs)

    for one in KERNELS:
        if one.name in offered:
            one.run = functools.partial(compare, one)
    try:
        yield
    finally:
        for one in KERNELS:
            one.run = one.plain


def why_not(one: Kernel, inputs: Sequence[Any]) -> str:
    """Return why a kernel can't stand in for its plain function here, "" where it can."""
    device = next(x.device for x in inputs if torch.is_tensor(x))
    if not HAS_TRITON or (device.type != "cuda" and not INTERPRETED):
        return "there is no Triton for this device"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < one.capability:
        return f"it is slow on GPUs below compute capability {'.'.join(map(str, one.capability))}"
    try:
        check_agreement(one.fused, one.plain, inputs)
    except Exception as e:  # any failure of an optional kernel means its plain twin
        return f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:150]}"
    return ""


def _like(value: Any) -> Any:
    """Return random values of a differentiated tensor's shape and layout, as large as in training; others as they are.

    The values of a model that has just been made won't do: many of its weights are zero.
    """
    if not (torch.is_tensor(value) and value.requires_grad):
        return value
    spread = min(1.0, 10 / max(1, value.size(-1) if value.dim() else 1) ** 0.5)
    drawn = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
    generator = torch.Generator(value.device).manual_seed(value.numel())
    values = torch.randn(value.shape, generator=generator, device=value.device) * spread
    return drawn.copy_(values).requires_grad_()


def used() -> list[str]:
    """Return the names of the kernels that stand in for their plain functions."""
    return sorted(one.name for one in KERNELS if one.run is one.fused)


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Return how many multiprocessors a GPU has, 1 without one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@jit
def load(at, mask):
    return tl.load(at, mask=mask, other=0.0).to(tl.float32)


# Embedding


@jit
def sum_rows_kernel(grad, order, starts, out, width, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    """Sum the rows of grad (N, width) where a token stood into out[token]; order sorts rows by token."""
    token, columns = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    begin, end = tl.load(starts + token), tl.load(starts + token + 1)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for at in range(begin, end, ROWS):
        rows = at + tl.arange(0, ROWS)
        where = tl.load(order + rows, mask=rows < end, other=0)
        inside = (rows < end)[:, None] & (columns < width)[None, :]
        total += tl.sum(load(grad + where[:, None] * width + columns[None, :], inside), axis=0)
    tl.store(out + token * width + columns, total, mask=columns < width)


@operator(lambda grad, _, count: grad.new_empty(count, grad.size(-1)))
def embedding_gradient(grad, rows, count: int, /, out):
    """Fill out (count, C) with the sums of grad (B, T, C) by token; atomic additions to frequent rows would be slow."""
    ordered, order = rows.flatten().sort()
    starts = torch.searchsorted(ordered, torch.arange(count + 1, device=grad.device))
    grid, width = (count, triton.cdiv(grad.size(-1), 128)), grad.size(-1)
    sum_rows_kernel[grid](grad.contiguous(), order, starts, out, width, 128, 16, num_warps=1)


@operator(
    lambda tokens, table: table.new_empty(*tokens.shape, table.size(1)),
    lambda dy, tokens, table, _: (None, embedding_gradient(dy, tokens, table.size(0))),
)
def fused_embedding(tokens, table, /, out):
    torch.index_select(table, 0, tokens.flatten(), out=out.view(-1, table.size(1)))


@kernel(fused_embedding)
def embedding(tokens, table):
    """Return the rows of a table (V, C) for tokens (B, T) int64, as (B, T, C)."""
    return F.embedding(tokens, table)


# Output head and loss


@jit
def loss_kernel(
    logits, targets, ahead, losses, gradients, T: tl.constexpr, V: tl.constexpr, CAP: tl.constexpr,
    BLOCK: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Compute, for one row of logits, the loss after the soft cap, and the gradient with respect to what stands before
    it, of the losses on targets ahead too."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    target = tl.load(targets + row)
    x = load(logits + row * V + column, column < V)
    share = 1.0 / (1.0 + tl.exp2(x * (-2 * 1.4426950408889634 / CAP)))
    powers = tl.exp2((share - 1) * (2 * 1.4426950408889634 * CAP))  # at most 1, so no maximum is needed
    powers = tl.where(column < V, powers, 0.0) if V < BLOCK else powers
    total = tl.sum(powers, axis=0)
    own = tl.load(logits + row * V + target).to(tl.float32)
    tl.store(losses + row, tl.log(total) - 2 * CAP * (tl.sigmoid(own * (2 / CAP)) - 1))
    powers *= 1 / total
    gradient = powers - tl.where(column == target, 1.0, 0.0)
    for i in tl.static_range(AHEAD):
        there = row % T < T - 1 - i
        further, weight = tl.load(targets + row + 1 + i, there, other=0), tl.where(there, tl.load(ahead + i), 0.0)
        gradient += weight * (powers - tl.where(column == further, 1.0, 0.0))
    tl.store(gradients + row * V + column, gradient * (4 * share * (1 - share)), mask=column < V)


def head_loss_backward(dy, _, x, head, targets, ahead, softcap, loss, gradients):
    scale = (dy / x.size(0)).to(x.dtype)
    return (gradients @ head) * scale, (gradients.T @ x) * scale, None, None, None


@operator(
    lambda x, head, *_: (x.new_empty((), dtype=torch.float32), x.new_empty(x.size(0), head.size(0))),
    head_loss_backward,
)
def fused_head_loss(x, head, targets, ahead, softcap: float, /, loss, _gradients):
    """Compute head_loss, and its gradient with it, so that the logits are read once."""
    logits, losses = x @ head.T, x.new_empty(x.size(0), dtype=torch.float32)
    sizes = targets.size(1), head.size(0), softcap, triton.next_power_of_2(head.size(0)), ahead.size(0)
    loss_kernel[(x.size(0),)](logits, targets.contiguous(), ahead, losses, _gradients, *sizes, num_warps=16)
    loss.copy_(losses.mean())


def capped_logits(x, head, softcap):
    """Return softcap * tanh(logits / softcap) up to a constant, which a softmax does not see, and cheaper.

    x (..., C), head (V, C) -> (..., V) fp32. There is no kernel for it.
    """
    return 2 * softcap * torch.sigmoid(F.linear(x, head).float() * (2 / softcap))


@kernel(fused_head_loss)
def head_loss(x, head, targets, ahead, softcap):
    """Return the mean loss in nats, fp32, of x (N, C) by head (V, C), targets (B, T), ahead (n,), softcap a number.

    It is the cross-entropy of capped_logits(x, head, softcap). Its gradient is also that of the losses on the n tokens
    further on, times their weights `ahead`.
    """
    logits = capped_logits(x, head, softcap)
    loss = F.cross_entropy(logits, targets.flatten())
    for i, weight in enumerate(ahead):
        further = F.pad(targets[:, i + 1 :], (0, i + 1), value=-100).flatten()  # cross_entropy skips -100
        more = F.cross_entropy(logits, further, reduction="sum") / targets.numel()
        loss = loss + weight * (more - more.detach())
    return loss


# Queries, keys and values


@jit
def qkv_kernel(
    qkv, cos, sin, gates, values, q, k, v, dqkv, dgates, dvalues, rows, values_stride, T: tl.constexpr,
    HEADS: tl.constexpr, HALF: tl.constexpr, VALUED: tl.constexpr, BACKWARD: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Compute qkv for rows, each a head of a token: q, k rotated and divided by their RMS, v + gate * value. Backward
    q, k and v hold their gradients."""
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, HALF)[None, :]
    token, inside = row // HEADS, (row < rows)[:, None]
    head = (row % HEADS)[:, None] * (2 * HALF) + column
    packed = token.to(tl.int64)[:, None] * (6 * HEADS * HALF) + head
    alone = row.to(tl.int64)[:, None] * (2 * HALF) + column
    angle = (token % T)[:, None] * HALF + column
    c, s = load(cos + angle, inside), load(sin + angle, inside)
    for part in tl.static_range(2):
        at, to = packed + part * (2 * HEADS * HALF), (q if part == 0 else k) + alone
        a, b = load(qkv + at, inside), load(qkv + at + HALF, inside)
        scale = tl.rsqrt(tl.sum(a * a + b * b, axis=1) / (2 * HALF) + 1e-7)[:, None]
        if BACKWARD:
            x, y = load(to, inside), load(to + HALF, inside)
            x, y = x * c - y * s, x * s + y * c
            along = tl.sum(x * a + y * b, axis=1)[:, None] / (2 * HALF) * scale * scale
            x, y = (x - along * a) * scale, (y - along * b) * scale
            to = dqkv + at
        else:
            x, y = (a * c + b * s) * scale, (b * c - a * s) * scale
        tl.store(to, x, mask=inside)
        tl.store(to + HALF, y, mask=inside)
    gate, dgate = load(gates + row, row < rows)[:, None] if VALUED else 0.0, tl.zeros((ROWS,), dtype=tl.float32)
    for half in tl.static_range(2):
        at, to = packed + 4 * HEADS * HALF + half * HALF, alone + half * HALF
        x = load(v + to if BACKWARD else qkv + at, inside)
        if VALUED:
            value = load(values + token.to(tl.int64)[:, None] * values_stride + head + half * HALF, inside)
            if BACKWARD:
                dgate += tl.sum(x * value, axis=1)
                tl.store(dvalues + to, gate * x, mask=inside)
            else:
                x += gate * value
        tl.store(dqkv + at if BACKWARD else v + to, x, mask=inside)
    if VALUED and BACKWARD:
        tl.store(dgates + row, dgate, mask=row < rows)


def call_qkv_kernel(qkv, cos, sin, gate, value, q, k, v, dqkv=None, dgate=None, dvalue=None):
    B, length, _, heads, dim = qkv.shape
    rows, stride = B * length * heads, 0 if value is None else value.stride(1)
    qkv_kernel[(triton.cdiv(rows, 16),)](
        qkv, cos, sin, gate, value, q, k, v, dqkv, dgate, dvalue, rows, stride, length, heads, dim // 2,
        value is not None, dqkv is not None, 16,
    )  # fmt: skip


@operator(lambda _q, _k, _v, x, _cos, _sin, *rest: tuple(x.new_empty(0 if t is None else t.shape) for t in (x, *rest)))
def qkv_backward(dq, dk, dv, qkv, cos, sin, gate, value, /, dqkv, dgate, dvalue):
    dq, dk, dv = dq.contiguous(), dk.contiguous(), dv.contiguous()
    call_qkv_kernel(qkv, cos, sin, gate, value, dq, dk, dv, dqkv, dgate, dvalue)


def fused_qkv_backward(dq, dk, dv, qkv, cos, sin, gate, value, *_):
    dqkv, dgate, dvalue = qkv_backward(dq, dk, dv, qkv, cos, sin, gate, value)
    return dqkv, None, None, *((None, None) if value is None else (dgate, dvalue))


@operator(lambda x, *_: tuple(x.new_empty(x[:, :, 0].shape) for _ in range(3)), fused_qkv_backward)
def fused_qkv(qkv, cos, sin, gate, value, /, q, k, v):
    call_qkv_kernel(qkv, cos, sin, gate, value, q, k, v)


def rotate(x, cos, sin):
    """Return x (B, T, H, D) at its rotary positions (Su 2021): the two halves of D are the planes' axes.

    cos, sin (T, 1, D/2). There is no kernel for it alone.
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


@kernel(fused_qkv)
def qkv(packed, cos, sin, gate, value):
    """Return q, k, v (B, T, H, D) out of packed (B, T, 3, H, D), gate (B, T, H) and value (B, T, H, D) or None.

    q and k are rotated and RMS normed; v gets gate * value added.
    """
    q, k, v = packed.unbind(2)
    q, k = (F.rms_norm(rotate(z, cos, sin), z.shape[-1:]) for z in (q, k))
    return q, k, v if value is None else v + gate.unsqueeze(-1) * value


# MLP


@jit
def relu_squared_kernel(
    left, right, before, out, rows, columns, inner, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    PROGRAMS: tl.constexpr, FORWARD: tl.constexpr,
):  # fmt: skip
    """Compute relu(left @ right^T)^2, or (left @ right) times that function's slope, 2 * sqrt(before)."""
    across = tl.cdiv(columns, BN)
    done = tl.program_id(0) - PROGRAMS
    for tile in tl.range(tl.program_id(0), tl.cdiv(rows, BM) * across, PROGRAMS, flatten=True):
        m, n = tile // across * BM, tile % across * BN
        total = tl.zeros((BM, BN), dtype=tl.float32)
        for step in range(tl.cdiv(inner, BK)):
            other = right.load([n, step * BK]).T if FORWARD else right.load([step * BK, n])
            total = tl.dot(left.load([m, step * BK]), other, total)
        done += PROGRAMS  # the tile's place computed anew, so that the next tile's loads can start before
        m, n = done // across * BM, done % across * BN
        halves = tl.split(tl.permute(tl.reshape(total, (BM, 2, BN // 2)), (0, 2, 1)))
        for half in tl.static_range(2):
            x, at = halves[half], n + half * (BN // 2)
            if FORWARD:
                x = tl.maximum(x, 0.0)
                x = x * x
            else:
                x *= 2 * tl.sqrt(before.load([m, at]).to(tl.float32))
            out.store([m, at], x.to(out.dtype))


def call_relu_squared_kernel(left, right, before, out, forward):
    (BM, BN, BK), block, programs = (128, 256, 64), TensorDescriptor.from_tensor, multiprocessors(left.device)
    relu_squared_kernel[(programs,)](
        block(left, [BM, BK]), block(right, [BN, BK] if forward else [BK, BN]), block(before, [BM, BN // 2]),
        block(out, [BM, BN // 2]), *out.shape, left.size(1), BM, BN, BK, programs, forward,
        num_warps=8, num_stages=4 if forward else 3,
    )  # fmt: skip


@operator(lambda dy, w, h: torch.empty_like(h))
def relu_squared_backward(dy, w, h, /, out):
    """Fill out with the gradient of x (N, 4C), from dy (N, C), w (C, 4C) and h = relu(x)^2 (N, 4C)."""
    call_relu_squared_kernel(dy.contiguous(), w, h, out, False)


def mlp_backward(dy, _, x, w_in, w_out, out, h):
    dh = relu_squared_backward(dy, w_out, h)
    return dh @ w_in, dh.T @ x, dy.T @ h


@operator(
    lambda x, w_in, w_out: (x.new_empty(x.size(0), w_out.size(0)), x.new_empty(x.size(0), w_in.size(0))),
    mlp_backward,
)
def fused_mlp(x, w_in, w_out, /, out, _h):
    """Compute mlp by matrix products that apply the squared ReLU and its slope to what they write."""
    call_relu_squared_kernel(x, w_in, _h, _h, True)
    torch.mm(_h, w_out.T, out=out)


@kernel(fused_mlp, capability=(9, 0))  # before Hopper it spills registers and loads without overlap
def mlp(x, w_in, w_out):
    """Return the MLP (N, C) of x (N, C) by w_in (4C, C), w_out (C, 4C) and a squared ReLU (So et al. 2021)."""
    return F.linear(F.relu(F.linear(x, w_in)).square(), w_out)


# Norm and causal filter


@jit
def filter_kernel(
    x, taps, out, dy, dtaps, rows, T: tl.constexpr, C: tl.constexpr, N: tl.constexpr, BACKWARD: tl.constexpr,
    TILES: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, MANY: tl.constexpr,
):  # fmt: skip
    """Compute u[t] + sum of taps[j] * u[t - 1 - j], u being x (rows, C) over its RMS. Backward out is the gradient
    of x, and dtaps (programs, N, C) are sums over a program's rows."""
    column, which = tl.arange(0, BLOCK)[None, :], tl.arange(0, MANY)[:, None]
    totals = tl.zeros((MANY, BLOCK), dtype=tl.float32)
    for tile in range(TILES):
        row = ((tl.program_id(0) * TILES + tile) * ROWS + tl.arange(0, ROWS))[:, None]
        at, inside = row.to(tl.int64) * C + column, (row < rows) & (column < C)
        u = load(x + at, inside)
        scale = tl.rsqrt(tl.sum(u * u, axis=1) / C + 1e-7)[:, None]
        u *= scale
        result = load(dy + at, inside) if BACKWARD else u
        for j in tl.static_range(N):
            tap = load(taps + j * C + column, column < C)
            if BACKWARD:
                after = load(dy + at + (j + 1) * C, inside & (row % T < T - 1 - j))
                result += tap * after
                totals += tl.where(which == j, tl.sum(u * after, axis=0)[None, :], 0.0)
            else:
                before = load(x + at - (j + 1) * C, inside & (row % T > j))
                result += tap * before * tl.rsqrt(tl.sum(before * before, axis=1) / C + 1e-7)[:, None]
        if BACKWARD:
            result = scale * (result - u * (tl.sum(result * u, axis=1) / C)[:, None])
        tl.store(out + at, result, mask=inside)
    if BACKWARD:
        to = dtaps + (tl.program_id(0) * N + which) * C + column
        tl.store(to, totals, mask=(which < N) & (column < C))


def call_filter_kernel(x, taps, out, dy=None, dtaps=None):
    (B, length, width), n, power = x.shape, taps.size(0), triton.next_power_of_2
    sizes = B * length, length, width, n, dy is not None, 16, 2, power(width), power(n)
    filter_kernel[(triton.cdiv(B * length, 32),)](x, taps, out, dy, dtaps, *sizes, num_warps=1)


@operator(lambda dy, x, taps: (torch.empty_like(x), x.new_empty(-(-x[..., 0].numel() // 32), *taps.shape)))
def filter_backward(dy, x, taps, /, dx, dtaps):
    call_filter_kernel(x, taps, dx, dy.contiguous(), dtaps)


def norm_filter_backward(dy, x, taps, _):
    dx, dtaps = filter_backward(dy, x, taps)
    return dx, dtaps.sum(0)


@operator(lambda x, taps: torch.empty_like(x), norm_filter_backward)
def fused_norm_filter(x, taps, /, out):
    call_filter_kernel(x, taps, out)


def causal_filter(x, taps):
    """Return x (B, T, C) plus the tokens before, times taps (n, C): the first tap's are one back. It has no kernel."""
    return x + sum(tap * F.pad(x, (0, 0, j + 1, 0))[:, : -j - 1] for j, tap in enumerate(taps))


@kernel(fused_norm_filter)
def norm_filter(x, taps):
    """Return x (B, T, C) RMS normed and then filtered by taps (n, C)."""
    return causal_filter(F.rms_norm(x, x.shape[-1:]), taps)
