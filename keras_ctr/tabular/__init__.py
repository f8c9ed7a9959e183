"""A data frame in, a model out: `fit` and `CTRClassifier`, with defaults that are measured."""
