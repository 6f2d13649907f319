"""Labelled images as they lie somewhere: sources, archives, annotation formats, statistics, and the drawn set."""
