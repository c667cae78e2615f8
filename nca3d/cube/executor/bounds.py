"""How large the gradient of a gMLP cell's weights can be at most, from the sizes of its weights, states and what flows back.

Each line bounds one tensor of `gmlp.py`, in its order, by the sizes of those that it is made of: a product over n numbers is at
most n times the product of the largest, a layer norm over n numbers gives at most √n. So the bound holds for any cell; it is
astronomically larger than a gradient is, and far below what a float can hold, as long as weights and states are sane.
"""

from collections.abc import Mapping
from math import nan, sqrt

from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.gmlp import ACROSS, AROUND, POSITIONS, SIDES, WEIGHTED

# 1 / √variance of a layer norm at most: the number that is added to the variance is 1e-5. The slope of a GELU at most.
RATE, SLOPE = 1e-5**-0.5, 1.13
# Products of numbers that were rounded to bfloat16 first are larger by less than this.
ROUNDED = 1.02


def largest_gradient(
    rule: GMLPRule, sizes: Mapping[str, float], x: Tensor, grad: Tensor, front: Tensor | None, outside: Tensor | None
) -> float:
    """Returns a number that no entry of the gradient exceeds, for one step; NaN or infinity where there is none.

    Args:
        rule: The rule, by the widths of its cells.
        sizes: The largest weight of each parameter, by its size.
        x: The states before the step, of any shape (…,).
        grad: What flows into the states after it, (…,).
        front: The input at the front face, (…,), or None.
        outside: The external input, (…,), or None.
    """
    f, m, wide, batch = rule.features, rule.memory, rule.widened, x.numel() / (len(rule.neighbours) * rule.channels)
    seen = POSITIONS * f + rule.external
    into, step = _size(grad), max(1.0, rule.step_size)
    state = most(1.0, _size(x) + (0.0 if front is None else _size(front)), 0.0 if outside is None else _size(outside))

    def out(name: str, size: float, inputs: int) -> float:
        """Returns the size of what a linear layer gives."""
        return ROUNDED * inputs * sizes[name] * size + sizes[f"{name}_bias"]

    def back(name: str, size: float, outputs: int) -> float:
        """Returns the size of what flows into the input of a linear layer."""
        return ROUNDED * outputs * sizes[name] * size

    def norm(name: str, width: int) -> float:
        return sqrt(width) * sizes[f"{name}_scale"] + sizes[f"{name}_shift"]

    def back_norm(name: str, size: float, width: int) -> float:
        return RATE * (2 + width) * sizes[f"{name}_scale"] * size

    # Forward.
    scaled = norm("seen", seen)
    entered = out("enter", scaled, seen)
    split = out("split", entered, f)
    calmed, positions = norm("gate", f), POSITIONS * sizes["positions"]
    gate = positions * calmed + sizes["positions_bias"]
    gated = split * gate
    hidden = out("widen", gated, f)
    x_ = gated + out("narrow", hidden, wide)
    looked = out("look", state, 2 * f) if rule.mixing else 0.0
    if rule.mixing:
        x_ += WEIGHTED * SIDES * state + ACROSS * out("across", state, f)
    old = out("candidate_of", state, m)

    # Backward: what flows into each tensor, and with it the gradients of weights, which are sums over samples of products.
    grads = [AROUND * step * into * state, step * into * norm("last", f)]
    levelled = back("last", step * into, f)
    grads.append(levelled * sqrt(f))
    into_x = back_norm("last", levelled, f)
    memory = into + back("recall", into_x, f)
    grads.append(into_x * most(1.0, state))
    gates = memory * most(1.0, 1 + state, old)
    into_x += sum(back(name, gates, m) for name in ("reset_in", "update_in", "candidate_in"))
    grads.append(gates * most(x_, state))
    if rule.mixing:
        share = 2 * f * WEIGHTED * into_x * state
        grads += [ACROSS * into_x * state, share * looked, back("weigh", share, SIDES) * state]
    grads.append(into_x * hidden)
    widened = SLOPE * back("narrow", into_x, f)
    grads.append(widened * gated)
    into_x += back("widen", widened, wide)
    lifts = into_x * split
    grads += [f * lifts * calmed, lifts * positions * sqrt(f)]
    into_split = SLOPE * most(into_x * gate, back_norm("gate", positions * lifts, f))
    grads.append(into_split * entered)
    into_entered = back("split", into_split, 2 * f)
    grads.append(into_entered * scaled)
    grads.append(back("enter", into_entered, f) * sqrt(seen))
    # Biases have the sum of what flows back, without a factor: one that is below 1 must not make them smaller.
    largest = most(*grads, into_x, gates, into_split, into_entered, into)
    return ROUNDED * batch * largest


def most(*sizes: float) -> float:
    """Returns the largest of some numbers; NaN where one is, which Python's `max` passes over."""
    return max(sizes) if all(size == size for size in sizes) else nan


def _size(tensor: Tensor) -> float:
    """Returns the largest of some numbers by its size; NaN where one is."""
    low, high = tensor.aminmax()
    return max(-float(low), float(high)) if float(low) == float(low) else nan
