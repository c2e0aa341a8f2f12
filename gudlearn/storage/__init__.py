"""Archives of arrays and JSON on the disk."""
