"""What an evaluation found: one shape of report (`report.py`), one page (`page.py`), one way of writing both (`folder.py`).

`body.py` says what the page of a body says, `life.py` draws one that was filmed, `compare.py` lays reports side by side. Knows
nothing of rules or rollouts: a report is data. May import `errors`, `files` and `registry`; `visualize` inside functions.
"""
