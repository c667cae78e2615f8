"""A trained cube behind a small HTTP endpoint: `app.py` answers, `limits.py` bounds what it accepts (extra `serve`)."""
