"""Image files, byte by byte: what each holds, whether it is whole, and what it costs to open."""
