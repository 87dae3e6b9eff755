"""The model of a job before a worker loads it: configuration, tokenizer, and fit to texts."""
