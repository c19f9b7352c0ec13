"""From strings to token ids and batches; independent of any model."""
