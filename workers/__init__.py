"""Workers: Celery tasks, one loaded model per process, one runner per kind of job."""
