"""The checks of the data gate: each finds one kind of problem and says where."""
