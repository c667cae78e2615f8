"""The page of a cube: its words (`page.py`), its pictures (`pictures.py`), both written (`report.py`)."""
