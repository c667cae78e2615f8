"""The studies of a body, one a file: `persistence`, `regeneration`, `robustness`, `emergence` (with `dynamics`)."""
