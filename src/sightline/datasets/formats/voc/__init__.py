"""Pascal VOC: the reader and the writer."""
