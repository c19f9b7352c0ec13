"""Tables of word vectors and the files that hold them; knows nothing of encoders."""
