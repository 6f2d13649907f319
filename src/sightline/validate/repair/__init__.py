"""The repaired copy of a source: what can be saved, written in its own format, with a list of every change."""
