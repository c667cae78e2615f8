"""The page of a cube: its words, and how it is written (`page.py`), its pictures (`pictures.py`)."""
