"""The results of an evaluation: one shape of report (`report.py`), one page (`page.py`), one way to write both (`folder.py`).

`body.py` has the text and the charts of a body's page, `life.py` the pictures of a filmed life, `compare.py` puts reports side
by side. The package knows nothing of rules or rollouts: a report is data. It may import `errors`, `files` and `registry`;
`visualize` only inside functions.
"""
