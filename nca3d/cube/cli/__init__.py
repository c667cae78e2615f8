"""The verbs of a cube: `embed`, `answer`, `serve`, one a file."""
