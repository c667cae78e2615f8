"""What an evaluation found, and its pages: one shape of report (`report.py`), one page (`page.py`), their pictures.

`run.py` writes a training run, `study.py` an evaluation. May import `errors` and `files`; `visualize` inside
functions.
"""
