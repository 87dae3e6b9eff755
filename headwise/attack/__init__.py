"""Adversarial triggers: put into texts, tried on a model, and compared with raw attention."""
