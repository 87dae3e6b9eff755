"""A model and its tokenizer: which files are read, what they say, how they are loaded."""
