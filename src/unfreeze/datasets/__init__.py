"""Labeled data of any kind: examples, their samples and digests, and what a label may be."""
