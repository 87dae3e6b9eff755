"""The SQL console on PostgreSQL: its role and rights, the statements it runs, and their process."""
