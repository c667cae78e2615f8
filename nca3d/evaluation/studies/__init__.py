"""The studies of a body, one in each file: `persistence`, `regeneration`, `robustness`, `emergence` (with `dynamics`)."""
