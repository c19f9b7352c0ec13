"""Language models: the protocol that they share, one file a model, and what is asked of any of them."""
