"""Running it: processes, health, logs, retention and backup."""
