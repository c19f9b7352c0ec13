"""Synthetic text for the demo and the tests: labeled film and product reviews, and unlabeled text of the same domain."""

from unfreeze.generated.texts import Review, movie_reviews, plain_text, product_reviews

__all__ = ["Review", "movie_reviews", "plain_text", "product_reviews"]
