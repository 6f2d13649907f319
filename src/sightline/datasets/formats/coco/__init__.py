"""COCO JSON: the reader and the writer."""
