"""The sums along edges that `graph` computes with, by PyTorch Geometric.

This is the one module that imports it at its top, which takes seconds: import this one late (`graph.messages`).
"""

from torch import Tensor
from torch_geometric.nn import MessagePassing


class _Sum(MessagePassing):
    """The sum of what arrives along a node's edges; unless `message` says otherwise, an edge carries its source as it is."""

    def __init__(self) -> None:
        # Nodes come first in every tensor, so that a gather or a scatter moves whole rows.
        super().__init__(aggr="add", node_dim=0)


class WeightedSum(_Sum):
    """What each node perceives: the sum over its edges of weight · state of the source, for K weights on each edge.

    perception[i, k] = Σ over edges (j → i) of weight[edge, k] · nodes[j]
    """

    def forward(self, nodes: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
        """Returns the sums (N, K, B, C) of nodes (N, B, C) along edges, int64 (2, E), with weights (E, K, 1, 1 or C)."""
        return self.propagate(edges, nodes=nodes, weight=weight)

    def message(self, nodes_j: Tensor, weight: Tensor) -> Tensor:
        """Returns what each edge carries, (E, K, B, C): its source (E, B, C) times its weights (E, K, 1, 1 or C)."""
        return weight * nodes_j[:, None]


class Count(_Sum):
    """How many of a node's sources are marked. In whole numbers no order of summing and no NaN can change the result."""

    def forward(self, marked: Tensor, edges: Tensor) -> Tensor:
        """Returns how many sources of each node are marked, int32 (N, B), from marks bool (N, B) and edges int64 (2, E)."""
        return self.propagate(edges, x=marked.int())


class ToSlots(_Sum):
    """What each neighbour of a node shows, one by one and not summed: a node has some slots, and each edge fills one.

    Slots are the targets of a graph in two parts; a slot that no edge leads to holds zeros.
    """

    def forward(self, nodes: Tensor, edges: Tensor, slots: int) -> Tensor:
        """Returns the slots (N, B, slots, F) of nodes (N, B, F); edges int64 (2, E) lead from a node to slot n · slots + k."""
        # Each slot is the target of one edge at most, so that its "sum" is what that edge carries.
        filled = self.propagate(edges, x=(nodes, None), size=(len(nodes), slots * len(nodes)))
        return filled.unflatten(0, (len(nodes), slots)).transpose(1, 2)


# They have neither parameters nor a memory, so one of each serves all rules.
weighted_sum = WeightedSum()
count = Count()
to_slots = ToSlots()
