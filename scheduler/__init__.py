"""The scheduling loop, the Celery app, and the submission of jobs."""
