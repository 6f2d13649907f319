"""What surrounds every stage: its frame, its progress, the machine it runs on, and where its result comes from."""
