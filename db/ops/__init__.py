"""Operations: processes, health, logs, metrics, retention and backup."""
