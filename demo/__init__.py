"""The demo: a small NLI model and sentence pairs written for it. Neither needs a download."""
