"""The marks that bodies are judged by and what each figure of emergence means: studies judge by them, pages say them."""

from __future__ import annotations

# Share of its quality at the horizon that a body must keep in the worst step of every window.
HELD = 0.95

# Share of its quality before the wound at which a body counts as whole again.
WHOLE = 0.95

# What each figure of emergence means, with its range and its paper.
EXPLANATIONS = {
    "morans_i": "likeness of neighbouring cells' looks, −1 .. 1 (Moran 1950)",
    "spatial_entropy": "bits of the body's 2×2×2 blocks, 0 .. 8 (Shannon 1948; Batty 1974)",
    "compressibility": "1 − zlib size / size of what is shown (Zenil et al. 2010)",
    "neighbour_information": "bits that a cell's look tells about its neighbour's (Shannon 1948; Miller 1955)",
    "peak_wavelength": "cells from crest to crest of the strongest spatial wave (Field 1987)",
    "spectral_centroid": "mean spatial frequency by power, cycles per cell, 0 .. ½",
    "activity": "mean absolute change a step of what is shown, per living cell",
    "activity_period": "steps from peak to peak of the activity, where a wave stands clear (Welch 1967)",
    "lyapunov": "growth rate a step of a small difference under the same fire masks (Benettin et al. 1980)",
    "specialisation": "share of the hidden state's variance that lies between cells, 0 .. 1 (η², Fisher 1925)",
    "behaviours": "effective number of independent ways in which cells differ (participation ratio of their PCA)",
}
