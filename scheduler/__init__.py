"""Submit, dispatch, sweep, finish and control; the Celery app."""
