"""MLflow: its address, the checks before a run starts, and the record of a run."""
