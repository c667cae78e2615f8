"""The verbs of a cube, one a file: `embed`, `answer`, `serve`; and what it adds to `evaluate` and to `export` (`surface`)."""
