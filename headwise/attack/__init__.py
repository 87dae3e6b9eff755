"""Adversarial triggers: inserted into texts, evaluated, and compared with raw attention."""
