"""Language models: the protocol that they share, one file per model, and scoring, filling, generation and perplexity."""
