"""Operations: processes, health, logs, metrics and retention."""
