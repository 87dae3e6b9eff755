"""Scheduling without a database: the plan of a job, its time, fair shares and due times."""
