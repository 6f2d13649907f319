"""One file per task: a signature, a docstring and one call. The docstrings are the interface that KFP publishes."""
