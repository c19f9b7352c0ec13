"""word2vec (Mikolov et al. 2013) with fastText's character n-grams: `train` runs the stage, `walk` visits the corpus, `step`
and `groups` update the vectors."""
