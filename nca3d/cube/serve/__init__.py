"""A trained cube behind a small HTTP endpoint: `limits` says how much is taken in, `app` what is answered. Extra `serve`."""
