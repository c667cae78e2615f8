"""How much each loss term counts: as the config weighs it, learned, or by how fast each falls."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Of the running means whose ratio says how fast a term falls: about the last twenty iterations.
MEMORY = 0.95

# How much more a term counts that falls more slowly than others: e to the power of this for a difference of 1 in the ratio.
SHARPNESS = 3.0


class Balance(nn.Module):
    """Factors on the weighted terms. They are trained (or kept) with the run, saved and resumed with it.

    "fixed": 1. "learned": exp(−s) with a log-variance s for each term, and s itself added, so that none can be talked away
    (Kendall et al. 2018). "softadapt": a softmax over how each term changed lately, times the number of terms (Heydari et al.
    2019).

    Args:
        how: fixed, learned or softadapt.
        names: of the terms.
    """

    recent: Tensor
    before: Tensor

    def __init__(self, how: str, names: list[str]) -> None:
        super().__init__()
        self.how, self.names = how, names
        self.log_variance = nn.Parameter(torch.zeros(len(names))) if how == "learned" else None
        for name in ("recent", "before"):
            self.register_buffer(name, -torch.ones(len(names)) if how == "softadapt" else None)

    def factors(self) -> Tensor:
        """(terms,)."""
        if self.log_variance is not None:
            return (-self.log_variance).exp()
        if self.how == "softadapt" and bool((self.before >= 0).all()):
            fell = self.recent / self.before.clamp_min(1e-12)  # 1 = stands still, less = falls
            return len(self.names) * (SHARPNESS * (fell - 1)).softmax(dim=0)
        return torch.ones(len(self.names))

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The balanced sum of weighted terms, each (B,) -> (B,)."""
        stacked = torch.stack([terms[name] for name in self.names])
        factors = self.factors().to(stacked)
        summed = (factors[:, None] * stacked).sum(dim=0)
        return summed if self.log_variance is None else summed + self.log_variance.sum().to(stacked)

    @torch.no_grad()
    def note(self, means: Mapping[str, float]) -> None:
        """Take note of an iteration's terms: softadapt goes by two running means, one twenty times as slow."""
        if self.how != "softadapt":
            return
        now = torch.tensor([means[name] for name in self.names])
        for name, memory in (("recent", MEMORY), ("before", 1 - (1 - MEMORY) / 20)):
            mean = getattr(self, name)
            setattr(self, name, torch.where(mean >= 0, memory * mean + (1 - memory) * now, now))

    def figures(self) -> dict[str, float]:
        """The factors by name, for the log; none where they are fixed."""
        if self.how == "fixed":
            return {}
        return {f"balance_{name}": factor for name, factor in zip(self.names, self.factors().tolist(), strict=True)}
