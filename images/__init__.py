"""The container images: their lists, their build, and what they may hold."""
