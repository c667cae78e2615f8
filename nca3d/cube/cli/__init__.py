"""The commands of a cube, one a file: `embed`, `answer` and `serve`, and its parts of `evaluate` and `export` (`surface`)."""
