"""What a process owes to its shell: how it obeys signals, and how it prints. Standard library only, and nothing of nca3d."""
