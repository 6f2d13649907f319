"""YOLO in its dialects: the reader and the writer."""
