"""What every stage runs in: its frame, its progress, the machine, the cluster, and the provenance of its result."""
