"""A rule that lives outside a script: stepped in a page of its own, or in Jupyter."""
