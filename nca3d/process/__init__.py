"""What a process owes to its shell: how it obeys signals, prints, and runs a user's code. May import errors alone."""
