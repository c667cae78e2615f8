"""How patterned a state is: plain measures of one moment, each with its formula and its paper. Nothing is trained by them.

Fields are (B,K,D,H,W): K channels of B states. `where`, bool (B,D,H,W), says which cells count (default: all).
Every measure is finite: where there is nothing to measure it is 0.
"""

import math
import zlib

import torch
from torch import Tensor

from pools.damage import ALIVE_THRESHOLD
from pools.errors import ArgumentError

_FACES = (2, 3, 4)


def morans_i(field: Tensor, where: Tensor | None = None) -> Tensor:
    """Moran's I of face neighbours: are cells like their neighbours? (Moran 1950, Biometrika 37)

    I = (N / W) · Σ_ij z_i z_j / Σ_i z_i², over the W ordered pairs of neighbours, z the difference from the mean; channels are
    summed in both sums. 1: a smooth pattern, −1/(N−1): noise, −1: a checkerboard.

    Args:
        field: (B,K,D,H,W), any unit: neither its scale nor its mean matters.
        where: bool (B,D,H,W), the cells that count, as neighbours too.

    Returns:
        float64 (B,), about −1..1; 0 for a constant field.

    Raises:
        ValueError: another rank, or no cell.
    """
    z, inside = _centred(field, where)
    z = z / z.abs().flatten(1).amax(dim=1).clamp_min(1e-300)[:, None, None, None, None]  # large squares would overflow
    pairs = torch.zeros(len(field), dtype=torch.float64, device=field.device)
    products = torch.zeros_like(pairs)
    for axis in _FACES:
        length = field.shape[axis]
        both = inside.narrow(axis, 0, length - 1) & inside.narrow(axis, 1, length - 1)
        product = (z.narrow(axis, 0, length - 1) * z.narrow(axis, 1, length - 1)).sum(dim=1, keepdim=True)
        products += 2 * torch.where(both, product, 0.0).flatten(1).sum(dim=1)
        pairs += 2 * both.flatten(1).sum(dim=1)
    cells, square = inside.flatten(1).sum(dim=1), z.square().flatten(1).sum(dim=1)
    return torch.where((square == 0) | (pairs == 0), 0.0, cells * products / (pairs * square).clamp_min(1e-300))


def spatial_entropy(body: Tensor) -> Tensor:
    """Entropy of the 2×2×2 blocks of a body, in bits: how many kinds of corners, edges and grains it has.

    H = −Σ_k p_k log2 p_k over the 255 kinds of blocks that are not empty (Shannon 1948; blocks as in Batty 1974, "Spatial
    entropy"). 0: one kind of block alone or no body, log2 255 = 7.99: noise.

    Args:
        body: bool (B,D,H,W).

    Returns:
        float64 (B,), 0..7.99.
    """
    found = []
    for one in torch.nn.functional.pad(body, (1,) * 6):
        d, h, w = (side - 1 for side in one.shape)
        code = torch.zeros(d, h, w, dtype=torch.int64, device=body.device)
        for bit in range(8):
            z, y, x = bit >> 2, bit >> 1 & 1, bit & 1
            code += one[z : z + d, y : y + h, x : x + w].long() << bit
        found.append(_entropy(torch.bincount(code[code > 0], minlength=256)[1:]))
    return torch.stack(found)


def compressibility(field: Tensor) -> Tensor:
    """1 − compressed size / size of the field in bytes: how short a description there is (Zenil et al. 2010; zlib, level 9).

    Values are taken in 0..1 and rounded to 256 levels, channel after channel. Near 1: constant or regular, 0: noise.

    Args:
        field: (B,K,D,H,W), what lies outside 0..1 counts as its nearer end.

    Returns:
        float64 (B,), 0..1.
    """
    levels = (field.detach().float().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    shares = []
    for one in levels:
        raw = one.numpy().tobytes()
        shares.append(max(0.0, 1 - len(zlib.compress(raw, 9)) / max(1, len(raw))))
    return torch.tensor(shares, dtype=torch.float64)


def neighbour_information(labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Mutual information of face neighbours, in bits: what a cell's label says about its neighbour's (Shannon 1948).

    I = H(a) + H(b) − H(a, b) over ordered pairs; each entropy is corrected by (kinds − 1) / (2 n ln 2) (Miller 1955).

    Args:
        labels: whole numbers from 0, (B,D,H,W).
        where: bool (B,D,H,W), the cells that count, as neighbours too.

    Returns:
        float64 (B,), 0 (noise, or one label alone) .. log2 of the number of labels.
    """
    inside = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    found = []
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
        pairs = max(1, int(joint.sum()) // 2)  # each pair stands twice in the symmetric table, and says one thing
        bias = (2 * (int((single > 0).sum()) - 1) - (int((joint > 0).sum()) - 1)) / (2 * pairs * math.log(2))
        found.append((2 * _entropy(single) - _entropy(joint.flatten()) + bias).clamp_min(0.0))
    return torch.stack(found)


def spatial_spectrum(field: Tensor) -> tuple[Tensor, Tensor]:
    """Power by spatial frequency, averaged over directions (Field 1987 for natural images, J. Opt. Soc. Am. A 4).

    P(f) = mean of |FFT(z)|² over the wave vectors of length f, z the difference from the mean.

    Args:
        field: (B,K,D,H,W).

    Returns:
        frequencies (F,) in cycles per cell, 0 < f <= 1/2; power float64 (B,F), summed over channels, 0 for a constant field.

    Raises:
        ValueError: another rank, or no cell.
    """
    z, _ = _centred(field, None)
    power = torch.fft.fftn(z, dim=_FACES).abs().square().sum(dim=1)
    sides = field.shape[2:]
    grids = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) for n in sides), indexing="ij")
    radius = torch.stack(grids).square().sum(dim=0).sqrt().to(field.device)
    rings = max(1, max(sides) // 2)
    ring = (radius * 2 * rings).round().long().clamp_max(rings + 1).flatten()  # ring r has frequency r / (2 · rings)
    total = torch.zeros(len(field), rings + 2, dtype=torch.float64, device=field.device)
    total.index_add_(1, ring, power.flatten(1))
    count = torch.bincount(ring, minlength=rings + 2).clamp_min(1)
    frequencies = torch.arange(1, rings + 1, dtype=torch.float64) / (2 * rings)
    return frequencies, (total / count)[:, 1 : rings + 1].cpu()


def temporal_spectrum(series: Tensor, *, weighted: bool = True) -> tuple[Tensor, Tensor]:
    """Power by frequency of series, mean taken off, under a Hann window (Welch 1967, IEEE Trans. Audio Electroacoust. 15).

    Args:
        series: (T,B), one value a step.
        weighted: whether the mean is that under the window: with the plain one a first value unlike the others leaks into the
            lowest frequencies.

    Returns:
        frequencies (F,) in cycles per step, 0 < f <= 1/2; power float64 (F,B).

    Raises:
        ValueError: another rank, or no step.
    """
    if series.ndim != 2 or not len(series):
        raise ArgumentError("pattern", "series", tuple(series.shape), "(T,B), T from 1")
    values = series.detach().double().nan_to_num(0.0, 0.0, 0.0)
    window = torch.hann_window(len(values), periodic=False, dtype=torch.float64, device=values.device)[:, None]
    mean = (values * window).sum(dim=0) / window.sum().clamp_min(1e-300) if weighted else values.mean(dim=0)
    power = torch.fft.rfft((values - mean) * window, dim=0).abs().square()
    return torch.fft.rfftfreq(len(values), dtype=torch.float64)[1:], power[1:].cpu()


def labels(shown: Tensor, kind: str) -> Tensor:
    """What a cell looks like as one whole number: its class, or for colours 0 = not there, else 1 + a bit for each of red,
    green, blue above one half (straight).

    Args:
        shown: (B,K+1,D,H,W), visible channels and alpha.
        kind: "rgb" or "classes".
    """
    alpha, visible = shown[:, -1], shown[:, :-1]
    there = alpha > ALIVE_THRESHOLD
    if kind == "classes":
        return torch.where(there, visible.argmax(dim=1), 0)
    bits = (visible / alpha.clamp_min(1e-6)[:, None] > 0.5).long()
    return torch.where(there, 1 + bits[:, 0] + 2 * bits[:, 1] + 4 * bits[:, 2], 0)


def colours(shown: Tensor, kind: str) -> Tensor:
    """What is seen of a state, (B,K,D,H,W) in 0..1: premultiplied colours, or the share of each class; 0 where no body is.

    Args:
        shown: (B,K+1,D,H,W), visible channels and alpha.
        kind: "rgb" or "classes".
    """
    seen = shown[:, :-1].softmax(dim=1) if kind == "classes" else shown[:, :-1].clamp(0, 1)
    return torch.where(labels(shown, kind)[:, None] > 0, seen, 0.0)


def summary(shown: Tensor, kind: str) -> dict[str, Tensor]:
    """The measures of one moment by name, (B,) each, of what states show.

    Args:
        shown: (B,K+1,D,H,W), visible channels and alpha.
        kind: "rgb" (premultiplied colours) or "classes" (logits; class 0 is empty).
    """
    look, seen = labels(shown, kind), colours(shown, kind)
    return {
        "morans_i": morans_i(seen, look > 0),
        "spatial_entropy": spatial_entropy(look > 0),
        "compressibility": compressibility(seen),
        "neighbour_information": neighbour_information(look, look > 0),
    }


def cropped(states: Tensor, where: Tensor) -> Tensor:
    """States (B,C,D,H,W) within the box of the cells in `where`, bool (B,D,H,W), of all of them; no cell, no side."""
    there = where.any(dim=0)
    for axis in range(3):
        cells = there.movedim(axis, 0).flatten(1).any(dim=1).nonzero().flatten()
        first, last = (int(cells[0]), int(cells[-1]) + 1) if len(cells) else (0, 0)
        states = states.narrow(axis + 2, first, last - first)
    return states


def _centred(field: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor]:
    """Differences from the mean over the cells that count (0 elsewhere), float64, and those cells (B,1,D,H,W)."""
    if field.ndim != 5 or 0 in field.shape[1:]:
        raise ArgumentError("pattern", "field", tuple(field.shape), "(B,K,D,H,W), none of K,D,H,W 0")
    values = field.detach().double().nan_to_num(0.0, 0.0, 0.0)
    inside = torch.ones_like(values[:, :1], dtype=torch.bool) if where is None else where[:, None]
    cells = inside.flatten(1).sum(dim=1).clamp_min(1)
    values = torch.where(inside, values, 0.0)
    mean = values.flatten(2).sum(dim=2) / cells[:, None]
    z = torch.where(inside, values - mean[:, :, None, None, None], 0.0)
    # What the rounding of the mean leaves of a constant field is no pattern, however large or small the constant.
    flat = z.abs().flatten(1).amax(dim=1) <= 1e-12 * values.abs().flatten(1).amax(dim=1)
    return torch.where(flat[:, None, None, None, None], 0.0, z), inside


def _entropy(counts: Tensor) -> Tensor:
    share = counts.double() / counts.sum().clamp_min(1)
    return 0.0 - torch.special.xlogy(share, share).sum() / math.log(2)  # not its negative: that of one kind would be −0
