"""Training scripts of the shipped networks; the only files of the package that need torch."""
