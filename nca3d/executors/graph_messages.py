"""The sums along edges, by PyTorch Geometric. The one module that imports it at its top: import this one late."""

from torch import Tensor
from torch_geometric.nn import MessagePassing


class _Sum(MessagePassing):
    """The sum of what arrives along a node's edges; each edge carries its source's `x` as it is.

    Nodes come first in every tensor, so that a gather or a scatter moves whole rows.
    """

    def __init__(self) -> None:
        super().__init__(aggr="add", node_dim=0)


class WeightedSum(_Sum):
    """What each node perceives: the sum over its edges of weight · state of the source, for K weights an edge.

    perception[i, k] = Σ over edges (j → i) of weight[edge, k] · nodes[j]
    """

    def forward(self, nodes: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
        """Sums up nodes (N, B, C) along edges int64 (2, E) with weights (E, K, 1, 1 or C), to (N, K, B, C)."""
        return self.propagate(edges, nodes=nodes, weight=weight)

    def message(self, nodes_j: Tensor, weight: Tensor) -> Tensor:
        """Weighs the sources (E, B, C) with weights (E, K, 1, 1 or C), to (E, K, B, C)."""
        return weight * nodes_j[:, None]


class Count(_Sum):
    """How many of a node's sources are marked: whole numbers, so no order of summing and no NaN can change the result."""

    def forward(self, marked: Tensor, edges: Tensor) -> Tensor:
        """Counts marked sources, bool (N, B), along edges int64 (2, E), to int32 (N, B)."""
        return self.propagate(edges, x=marked.int())


class ToSlots(_Sum):
    """What each node's neighbours show, one by one: a node has some slots, and each edge fills one of them.

    Slots are the targets of a graph in two parts; one that no edge leads to holds zeros.
    """

    def forward(self, nodes: Tensor, edges: Tensor, slots: int) -> Tensor:
        """Moves nodes (N, B, F) along edges int64 (2, E), each from a node to slot n · slots + k, to (N, B, slots, F)."""
        filled = self.propagate(edges, x=(nodes, None), size=(len(nodes), slots * len(nodes)))
        return filled.unflatten(0, (len(nodes), slots)).transpose(1, 2)


# None of them has parameters or a memory, so one of each serves every rule.
weighted_sum = WeightedSum()
count = Count()
to_slots = ToSlots()
