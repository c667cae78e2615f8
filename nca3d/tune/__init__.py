"""`nca3d tune`: the batch of best throughput within memory, found by real iterations of training.

Start with `command.py`. `search.py` says which points are measured, `choice.py` which of them is chosen and why. Each is
measured in a process of its own: `iterations.py` is what it does, `process.py` how it is started and how it may end.
"""
