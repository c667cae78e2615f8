"""The report of a cube: `page.py` writes the page and its text, `pictures.py` draws its figures."""
