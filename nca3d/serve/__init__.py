"""A trained cube behind a small HTTP endpoint: `limits` says how much is taken in, `app` what is answered, `command` serves it.

May import anything but training, evaluation and the command line. Needs the extra `serve`.
"""
