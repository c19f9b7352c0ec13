"""Labeled data of any kind: examples, their samples and digests, what a label may be, and the tables they are read from."""
