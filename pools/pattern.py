"""How patterned a state is: measures of one moment, each with its formula and its paper. Nothing is trained by them.

Fields are (B,K,D,H,W): K channels of B states. `where`, bool (B,D,H,W), says which cells count (default: all of them).
Every measure is finite; it is 0 where there is nothing to measure.
"""

import math
import zlib

import torch
from torch import Tensor

from pools.carving import ALIVE_THRESHOLD
from pools.errors import ArgumentError

# The axes D, H, W of a field.
_AXES = (2, 3, 4)


def morans_i(field: Tensor, where: Tensor | None = None) -> Tensor:
    """Are cells like their neighbours? Returns Moran's I of face neighbours (Moran 1950, Biometrika 37).

    I = (N / W) · Σ_ij z_i z_j / Σ_i z_i², over the W ordered pairs of neighbours, z the difference from the mean; channels are
    summed in both sums. A smooth pattern has 1, noise −1/(N−1), a checkerboard −1.

    Args:
        field: (B,K,D,H,W), any unit: neither its scale nor its mean matters.
        where: bool (B,D,H,W), the cells that count, as neighbours too; None = all.

    Returns:
        float64 (B,), about −1..1; 0 for a constant field.

    Raises:
        ValueError: the field has another rank, or no cells.
    """
    z, inside = _centred(field, where)
    # Scaled, which I doesn't notice, because large squares would overflow.
    z = z / z.abs().flatten(1).amax(dim=1).clamp_min(1e-300)[:, None, None, None, None]
    pairs = torch.zeros(len(field), dtype=torch.float64, device=field.device)
    products = torch.zeros_like(pairs)
    for axis in _AXES:
        length = field.shape[axis]
        both = inside.narrow(axis, 0, length - 1) & inside.narrow(axis, 1, length - 1)
        product = (z.narrow(axis, 0, length - 1) * z.narrow(axis, 1, length - 1)).sum(dim=1, keepdim=True)
        products += 2 * torch.where(both, product, 0.0).flatten(1).sum(dim=1)
        pairs += 2 * both.flatten(1).sum(dim=1)
    # A field of one value, or without neighbours, has no pattern: 0, not 0 / 0.
    cells, square = inside.flatten(1).sum(dim=1), z.square().flatten(1).sum(dim=1)
    return torch.where((square == 0) | (pairs == 0), 0.0, cells * products / (pairs * square).clamp_min(1e-300))


def spatial_entropy(body: Tensor) -> Tensor:
    """Returns the entropy of a body's 2×2×2 blocks, in bits: how many kinds of corners, edges and grains it has.

    H = −Σ_k p_k log2 p_k over the 255 kinds of blocks that are not empty (Shannon 1948; blocks as in Batty 1974, "Spatial
    entropy"). One kind of block, or no body, has 0; noise has log2 255 = 7.99.

    Args:
        body: bool (B,D,H,W).

    Returns:
        float64 (B,), 0..7.99.
    """
    entropies = []
    # Padded, so that the body's outer faces are in blocks, too.
    for one in torch.nn.functional.pad(body, (1,) * 6):
        d, h, w = (side - 1 for side in one.shape)
        code = torch.zeros(d, h, w, dtype=torch.int64, device=body.device)
        # A block is a number of eight bits, one for each of its cells.
        for bit in range(8):
            z, y, x = bit >> 2, bit >> 1 & 1, bit & 1
            code += one[z : z + d, y : y + h, x : x + w].long() << bit
        entropies.append(_entropy(torch.bincount(code[code > 0], minlength=256)[1:]))
    return torch.stack(entropies)


def compressibility(field: Tensor) -> Tensor:
    """Returns 1 − compressed size / size in bytes: how short a description of a field is (Zenil et al. 2010; zlib, level 9).

    Values are clamped to 0..1 and rounded to 256 levels, channel after channel. A constant or regular field is near 1, noise 0.

    Args:
        field: (B,K,D,H,W).

    Returns:
        float64 (B,), 0..1.
    """
    # 256 levels, as in a picture: the noise of float digits would drown every pattern.
    levels = (field.detach().float().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    shares = []
    for one in levels:
        raw = one.numpy().tobytes()
        # A short field can grow by the compressor's header.
        shares.append(max(0.0, 1 - len(zlib.compress(raw, 9)) / max(1, len(raw))))
    return torch.tensor(shares, dtype=torch.float64)


def neighbour_information(labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Returns what a cell's label says about its neighbour's: mutual information of face neighbours, in bits (Shannon 1948).

    I = H(a) + H(b) − H(a, b) over ordered pairs; each entropy is corrected by (kinds − 1) / (2 n ln 2) (Miller 1955).

    Args:
        labels: (B,D,H,W), whole numbers from 0.
        where: bool (B,D,H,W), the cells that count, as neighbours too; None = all.

    Returns:
        float64 (B,), from 0 (noise, or one label alone) to log2 of the number of labels.
    """
    inside = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    information = []
    for label, counts in zip(labels.long(), inside, strict=True):
        kinds = int(label.max()) + 1 if label.numel() else 1
        joint = torch.zeros(kinds * kinds, dtype=torch.int64, device=labels.device)
        for axis in range(3):
            length = label.shape[axis]
            first, second = label.narrow(axis, 0, length - 1), label.narrow(axis, 1, length - 1)
            both = counts.narrow(axis, 0, length - 1) & counts.narrow(axis, 1, length - 1)
            joint += torch.bincount((first * kinds + second)[both], minlength=kinds * kinds)
        joint = joint.view(kinds, kinds) + joint.view(kinds, kinds).t()
        single = joint.sum(dim=1)
        # Each pair is in the symmetric table twice, and is one observation.
        pairs = max(1, int(joint.sum()) // 2)
        bias = (2 * (int((single > 0).sum()) - 1) - (int((joint > 0).sum()) - 1)) / (2 * pairs * math.log(2))
        information.append((2 * _entropy(single) - _entropy(joint.flatten()) + bias).clamp_min(0.0))
    return torch.stack(information)


def spatial_spectrum(field: Tensor) -> tuple[Tensor, Tensor]:
    """Returns power by spatial frequency, averaged over directions (as Field 1987 for images, J. Opt. Soc. Am. A 4).

    P(f) = mean of |FFT(z)|² over the wave vectors of length f, z the difference from the mean.

    Args:
        field: (B,K,D,H,W).

    Returns:
        Frequencies (F,) in cycles per cell, 0 < f <= 1/2, and power, float64 (B,F), summed over channels; 0 for a constant
        field.

    Raises:
        ValueError: the field has another rank, or no cells.
    """
    z, _ = _centred(field, None)
    power = torch.fft.fftn(z, dim=_AXES).abs().square().sum(dim=1)
    sides = field.shape[2:]
    grids = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) for n in sides), indexing="ij")
    radius = torch.stack(grids).square().sum(dim=0).sqrt().to(field.device)
    rings = max(1, max(sides) // 2)
    # Ring r has frequency r / (2 · rings); the last one collects the corners beyond 1/2 and is dropped.
    ring = (radius * 2 * rings).round().long().clamp_max(rings + 1).flatten()
    total = torch.zeros(len(field), rings + 2, dtype=torch.float64, device=field.device)
    # The mean power of each ring.
    total.index_add_(1, ring, power.flatten(1))
    count = torch.bincount(ring, minlength=rings + 2).clamp_min(1)
    frequencies = torch.arange(1, rings + 1, dtype=torch.float64) / (2 * rings)
    return frequencies, (total / count)[:, 1 : rings + 1].cpu()


def temporal_spectrum(series: Tensor, *, weighted: bool = True) -> tuple[Tensor, Tensor]:
    """Returns power by frequency of series without their mean (Welch 1967, IEEE Trans. Audio Electroacoust. 15).

    A Hann window is applied, so that the jump between last and first value doesn't leak into all frequencies.

    Args:
        series: (T,B), one value per step.
        weighted: whether to subtract the mean under the window; with the plain mean a first value unlike the others leaks into
            the lowest frequencies.

    Returns:
        Frequencies (F,) in cycles per step, 0 < f <= 1/2, and power, float64 (F,B).

    Raises:
        ValueError: the series have another rank, or no step.
    """
    if series.ndim != 2 or not len(series):
        raise ArgumentError("pattern", "series", tuple(series.shape), "(T,B), T from 1")
    values = series.detach().double().nan_to_num(0.0, 0.0, 0.0)
    # Not periodic: the series is a piece of a life, not one turn of a cycle.
    window = torch.hann_window(len(values), periodic=False, dtype=torch.float64, device=values.device)[:, None]
    mean = (values * window).sum(dim=0) / window.sum().clamp_min(1e-300) if weighted else values.mean(dim=0)
    power = torch.fft.rfft((values - mean) * window, dim=0).abs().square()
    return torch.fft.rfftfreq(len(values), dtype=torch.float64)[1:], power[1:].cpu()


def labels(shown: Tensor, kind: str) -> Tensor:
    """Returns what each cell looks like as one whole number, int64 (B,D,H,W).

    That is its class; or, of colours, 0 where no body is and else 1 + a bit for each of red, green and blue above one half
    (straight).

    Args:
        shown: (B,K+1,D,H,W), visible channels and alpha.
        kind: "rgb" or "classes".
    """
    alpha, visible = shown[:, -1], shown[:, :-1]
    inside = alpha > ALIVE_THRESHOLD
    if kind == "classes":
        return torch.where(inside, visible.argmax(dim=1), 0)
    # Divided by alpha, since colours are premultiplied.
    bits = (visible / alpha.clamp_min(1e-6)[:, None] > 0.5).long()
    return torch.where(inside, 1 + bits[:, 0] + 2 * bits[:, 1] + 4 * bits[:, 2], 0)


def colours(shown: Tensor, kind: str) -> Tensor:
    """Returns what can be seen of states, (B,K,D,H,W) in 0..1: premultiplied colours or shares of classes; 0 outside bodies.

    Args:
        shown: (B,K+1,D,H,W), visible channels and alpha.
        kind: "rgb" or "classes".
    """
    visible = shown[:, :-1].softmax(dim=1) if kind == "classes" else shown[:, :-1].clamp(0, 1)
    return torch.where(labels(shown, kind)[:, None] > 0, visible, 0.0)


def summary(shown: Tensor, kind: str) -> dict[str, Tensor]:
    """Returns the measures of states by name, (B,) each.

    Args:
        shown: (B,K+1,D,H,W), visible channels and alpha.
        kind: "rgb" (premultiplied colours) or "classes" (logits; class 0 is empty).
    """
    # What can be seen, not hidden channels: a pattern is what an observer would call one.
    label, colour = labels(shown, kind), colours(shown, kind)
    return {
        "morans_i": morans_i(colour, label > 0),
        "spatial_entropy": spatial_entropy(label > 0),
        "compressibility": compressibility(colour),
        "neighbour_information": neighbour_information(label, label > 0),
    }


def cropped(states: Tensor, where: Tensor) -> Tensor:
    """Returns states cropped to the smallest box around the cells of all of them, (B,C,d,h,w); sides of 0 without a cell.

    Args:
        states: (B,C,D,H,W).
        where: bool (B,D,H,W), the cells to include.
    """
    union = where.any(dim=0)
    for axis in range(3):
        cells = union.movedim(axis, 0).flatten(1).any(dim=1).nonzero().flatten()
        first, last = (int(cells[0]), int(cells[-1]) + 1) if len(cells) else (0, 0)
        states = states.narrow(axis + 2, first, last - first)
    return states


def _centred(field: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns differences from the mean over the cells that count (0 elsewhere), float64, and those cells (B,1,D,H,W)."""
    if field.ndim != 5 or 0 in field.shape[1:]:
        raise ArgumentError("pattern", "field", tuple(field.shape), "(B,K,D,H,W), none of K,D,H,W 0")
    values = field.detach().double().nan_to_num(0.0, 0.0, 0.0)
    inside = torch.ones_like(values[:, :1], dtype=torch.bool) if where is None else where[:, None]
    cells = inside.flatten(1).sum(dim=1).clamp_min(1)
    values = torch.where(inside, values, 0.0)
    mean = values.flatten(2).sum(dim=2) / cells[:, None]
    z = torch.where(inside, values - mean[:, :, None, None, None], 0.0)
    # A constant field has no pattern, but rounding of its mean would leave one, however large or small the constant.
    flat = z.abs().flatten(1).amax(dim=1) <= 1e-12 * values.abs().flatten(1).amax(dim=1)
    return torch.where(flat[:, None, None, None, None], 0.0, z), inside


def _entropy(counts: Tensor) -> Tensor:
    """Returns the entropy of counts (n,), in bits, a scalar."""
    share = counts.double() / counts.sum().clamp_min(1)
    # Subtracted from 0 and not negated: the entropy of one kind alone would be −0.
    return 0.0 - torch.special.xlogy(share, share).sum() / math.log(2)
