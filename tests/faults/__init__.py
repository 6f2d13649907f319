"""Real faults, put to real trainings: `make faults`."""
