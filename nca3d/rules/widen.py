"""A trained rule made wider: its own units as they are, and new ones that change nothing until they learn to.

How much of a body a rule can hold follows from the number of its weights. One that has learnt all that it can hold goes on as a
wider one that does the same at first (after Chen et al. 2016, "Net2Net", with fresh units instead of copies).
"""

import torch

from nca3d.rules.cell import Rule


def only_wider(source: Rule, rule: Rule) -> bool:
    """Returns whether hidden layers of `rule` are wider than those of `source`, and all other weights of the same shapes."""
    old, new = source.state_dict(), rule.state_dict()
    if type(source) is not type(rule) or old.keys() != new.keys():
        return False
    narrow, wide = source.spec().get("hidden"), rule.spec().get("hidden")
    if not isinstance(narrow, list) or not isinstance(wide, list) or len(narrow) != len(wide):
        return False
    if any(one.dim() != new[name].dim() for name, one in old.items()):
        return False
    # What differs must be sides of hidden layers: channels have places in what is perceived, and more of them would move these.
    pairs = {pair for name, one in old.items() for pair in zip(one.shape, new[name].shape, strict=True) if pair[0] != pair[1]}
    return bool(pairs) and pairs <= {(a, b) for a, b in zip(narrow, wide, strict=True) if a < b}


@torch.no_grad()
def widen(source: Rule, rule: Rule) -> None:
    """Writes the weights of a rule into a fresh, wider one, which then does what the first one does, rounding apart.

    What old units see of new ones is zero, and the last layer of a fresh rule is, so that new units have no say at first. What
    new units see is left as the fresh rule has it.

    Args:
        source: A trained rule.
        rule: A fresh rule; `only_wider` of the two is true.
    """
    new = rule.state_dict()
    for name, old in source.state_dict().items():
        new[name][: len(old)] = 0
        new[name][tuple(map(slice, old.shape))] = old
