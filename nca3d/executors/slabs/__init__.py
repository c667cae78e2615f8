"""The executor `slabs`: several ranks share out the living rows of a body, each runs those of a range of planes.

Choose it where one body is too large, or too slow, for one process. What crosses a cut are rows, never dense planes:

1. `rollout.py` cuts the batch where ranks get about as many living rows (`cuts.py`), and again when a body has grown;
2. before a step a rank borrows the rows of the two planes beside its own (`ghosts.py`): cells that touch its own ones fire,
   since their alpha decides who lives, and see the plane beyond; both are thrown away after the step (`steps.py`);
3. backward nothing comes to borrowed cells through their update, and what comes through the perception of others goes back
   to their owner, who adds it in the order of ranks;
4. at the end all ranks get all rows (`sharing.py`), and backward the sum of all parameters' gradients, in the order of ranks.

Rows are computed independently of each other (law 3), so states are those of one process bit for bit.
"""

from nca3d.executors.slabs.rollout import run

__all__ = ["run"]
