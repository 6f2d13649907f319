"""The checks of the data gate: each module finds issues of one kind."""
