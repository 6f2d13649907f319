"""MLflow: where it is, what is asked of it before a run costs anything, and the record that a run leaves there."""
