"""`--fix`: writes a repaired copy of a source in its own format, with a list of every change."""
