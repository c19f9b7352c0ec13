"""GloVe (Pennington et al. 2014): `cooccurrence` counts pairs of words, `train` fits vectors to the counts."""
