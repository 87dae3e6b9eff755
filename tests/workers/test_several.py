"""Several workers of one machine on a broker that knows them by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.stack import Stack


@pytest.mark.services
def test_workers_of_one_machine_share_a_rabbitmq(
    tmp_path: Path, postgres_url: str, rabbitmq_url: str
) -> None:
    """Celery's queue for remote control is exclusive: the second worker started again and again."""
    stack = Stack(
        tmp_path, database_url=postgres_url, broker_url=rabbitmq_url, queue=tmp_path.name[:20]
    )
    try:
        stack.start("up", "--workers", "2")
        living = "SELECT COUNT(*) FROM worker WHERE state = 'idle'"
        stack.wait_for(living, 2)
        job = stack.submit(40)
        stack.wait_for(f"SELECT state FROM jobs WHERE job_id = {job}", "succeeded")
        assert stack.rows("SELECT COUNT(*) FROM worker") == [(2,)]
        log = (tmp_path / "up-0.log").read_text()
        assert not re.search("ResourceLocked|Unrecoverable error|Traceback", log)
    finally:
        stack.stop()
