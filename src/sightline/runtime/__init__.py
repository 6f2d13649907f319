"""What every stage runs in: its frame, its progress, the machine, and the provenance of its result."""
