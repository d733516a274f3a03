"""Networks and data: the shipped zoo, the dataset loaders and the spike encoders."""
