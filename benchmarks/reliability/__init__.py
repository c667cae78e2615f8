"""What happens when something goes wrong: the same injections for nca3d and its peers; `benchmarks/faults.py` is the command.

`peers.py` says how each saves and loads, `trainings.py` how each trains, `children.py` how a process is hurt. The other files
hold the rows of the table, one kind of injection each. Nothing here imports nca3d at the top: peers have a Python of their own.
"""
