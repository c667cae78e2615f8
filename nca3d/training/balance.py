"""How much each loss term counts: as the config weighs it, learned, or by how fast each term falls."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Decay of the faster of two running means, whose ratio says how fast a term falls: about the last twenty iterations.
MEMORY = 0.95

# A term whose ratio is greater by 1 than another's (it falls more slowly) counts e^SHARPNESS times as much.
SHARPNESS = 3.0


class Balance(nn.Module):
    """Adaptive factors on the weighted loss terms, which are saved and resumed with the run.

    - "fixed": every factor is 1. Choose it unless a term is drowned by the others.
    - "learned": exp(−s) with a log-variance s for each term; s itself is added to the loss, so that no term can be turned off
      for nothing (Kendall et al. 2018).
    - "softadapt": a softmax over how each term changed lately, times the number of terms (Heydari et al. 2019).

    Args:
        how: "fixed", "learned" or "softadapt".
        names: of the terms, in the order of the factors.
    """

    # Running means of the terms, fast and slow; −1 before the first iteration. Stored in checkpoints under these names.
    recent: Tensor
    before: Tensor

    def __init__(self, how: str, names: list[str]) -> None:
        super().__init__()
        self.how, self.names = how, names
        self.log_variance = nn.Parameter(torch.zeros(len(names))) if how == "learned" else None
        for name in ("recent", "before"):
            self.register_buffer(name, -torch.ones(len(names)) if how == "softadapt" else None)

    def factors(self) -> Tensor:
        """Returns the factor of each term, (terms,), in the order of `names`."""
        if self.log_variance is not None:
            return (-self.log_variance).exp()
        if self.how == "softadapt" and bool((self.before >= 0).all()):
            # 1: the term stands still; below 1: it falls.
            ratio = self.recent / self.before.clamp_min(1e-12)
            return len(self.names) * (SHARPNESS * (ratio - 1)).softmax(dim=0)
        return torch.ones(len(self.names))

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Returns the balanced sum of weighted terms, (B,).

        Args:
            terms: each term by name, (B,).
        """
        stacked = torch.stack([terms[name] for name in self.names])
        if self.how == "fixed":
            return stacked.sum(dim=0)
        # Detached: what it learns itself follows from the whole batch, see `own_loss`.
        factors = self.factors().detach().to(stacked)
        summed = (factors[:, None] * stacked).sum(dim=0)
        return summed if self.log_variance is None else summed + self.log_variance.detach().sum().to(stacked)

    def own_loss(self, terms: Tensor) -> Tensor | None:
        """Returns the loss that "learned" factors learn by, a scalar; None where nothing is learned.

        Args:
            terms: The terms of the whole batch, (terms, B) in the order of `names`, without gradient.
        """
        if self.log_variance is None:
            return None
        factors = self.factors().to(terms)
        return ((factors[:, None] * terms).sum(dim=0) + self.log_variance.sum().to(terms)).mean()

    @torch.no_grad()
    def note(self, means: Mapping[str, float]) -> None:
        """Updates the running means that "softadapt" goes by; the second mean is twenty times as slow as the first.

        Args:
            means: an iteration's terms by name, averaged over the batch.
        """
        if self.how != "softadapt":
            return
        current = torch.tensor([means[name] for name in self.names], device=self.recent.device)
        for name, memory in (("recent", MEMORY), ("before", 1 - (1 - MEMORY) / 20)):
            mean = getattr(self, name)
            # A negative mean is one without a value yet (terms are never negative): the first one is taken whole.
            setattr(self, name, torch.where(mean >= 0, memory * mean + (1 - memory) * current, current))

    def metrics(self) -> dict[str, float]:
        """Returns the factors by name, for the log; nothing where they are fixed."""
        if self.how == "fixed":
            return {}
        return {f"balance_{name}": factor for name, factor in zip(self.names, self.factors().tolist(), strict=True)}
