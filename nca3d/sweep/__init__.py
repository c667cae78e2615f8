"""Many runs of one config, over settings and random seeds: what is asked, who runs what, and the table at the end.

Start with `plan.py` (what is asked) and `work.py` (the loop). `board.py` is Optuna's study, shared by processes and machines;
`attempt.py` is one trial at work in a process of its own; `results.py` reads what the trials measured. May import everything
below `cli`; optuna is imported late.
"""
