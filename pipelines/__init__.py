"""The DAGs. `python -m pipelines.compile` writes them to `pipelines/compiled/`."""
