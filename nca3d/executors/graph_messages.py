"""The sums along edges, by PyTorch Geometric. The one module that imports it at its top: import this one late."""

from torch import Tensor
from torch_geometric.nn import MessagePassing


class _Sum(MessagePassing):
    """What arrives along a node's edges, added up; each edge carries its source's `x` as it is.

    Nodes come first in every tensor, so that a gather or a scatter moves whole rows.
    """

    def __init__(self) -> None:
        super().__init__(aggr="add", node_dim=0)


class WeightedSum(_Sum):
    """What each node sees: the sum over its edges of weight · state of the source, for K weights an edge.

    seen[i, k] = Σ over edges (j → i) of weight[edge, k] · nodes[j]
    """

    def forward(self, nodes: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
        """nodes (N, B, C), edges int64 (2, E), weight (E, K, 1, 1 or C) -> (N, K, B, C)."""
        return self.propagate(edges, nodes=nodes, weight=weight)

    def message(self, nodes_j: Tensor, weight: Tensor) -> Tensor:
        """(E, B, C), (E, K, 1, 1 or C) -> (E, K, B, C)."""
        return weight * nodes_j[:, None]


class Count(_Sum):
    """How many of a node's sources are marked: whole numbers, so no order of summing and no NaN can change the answer."""

    def forward(self, marked: Tensor, edges: Tensor) -> Tensor:
        """marked bool (N, B), edges int64 (2, E) -> int32 (N, B)."""
        return self.propagate(edges, x=marked.int())


class ToSlots(_Sum):
    """What each node's neighbours show, one by one: a node has some slots, and each edge fills one of them.

    Slots are the targets of a graph in two parts; one that no edge leads to holds zeros.
    """

    def forward(self, nodes: Tensor, edges: Tensor, slots: int) -> Tensor:
        """nodes (N, B, F), edges int64 (2, E) from node to slot n · slots + k -> (N, B, slots, F)."""
        filled = self.propagate(edges, x=(nodes, None), size=(len(nodes), slots * len(nodes)))
        return filled.unflatten(0, (len(nodes), slots)).transpose(1, 2)


#: None has parameters or a memory, so one of each serves every rule.
weighted_sum = WeightedSum()
count = Count()
to_slots = ToSlots()
