"""The HTML pages: the report on a data set and the report on a run."""
