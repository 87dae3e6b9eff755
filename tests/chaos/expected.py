"""The error lines that each fault causes, and why. Any other breaks a round."""

from __future__ import annotations

KILLED = r"^Process .* exited with 'signal 9"
"""A worker says that its computing process was killed."""
BROKEN_OFF = r"BrokenPipeError"
"""A computing process finds on its start that its parent is gone."""
HUNG = r"^the worker hangs|^Process .* exited with 'exitcode 71'|\(most recent call first\)"
"""The watchdog ends a computing process that does not go on, and shows where it stands."""
NO_BROKER = r"^consumer: Cannot connect to"
"""Celery tries to connect again and again."""
NO_ACK = r"^Couldn't ack|^call_soon_ack"
"""A worker acknowledges a message on a connection that was just closed, or that is not answered."""
NO_DATABASE = r"ended by itself, before it had started|^The database .* does not answer: "
"""A process that starts without its database says so and ends: its supervisor tries again."""
GARBLED = (
    r"^Can't decode message body"
    r"|^Received unregistered task of type 'no.such.task'"
    r"|^Pool callback raised exception: TypeError\('dict.update\(\)"
)
"""Celery says what it makes of messages that are none."""
LATE = (GARBLED,)
"""Lines that come whenever a broker hands out again what nobody has acknowledged."""
RAISED = r"^the shard raised an error .*'{}"
"""A worker shows what an example raised."""

EXPECTED: dict[str, tuple[str, ...]] = {
    "worker killed before its commit": (KILLED,),
    "worker killed between two statements of its commit": (KILLED,),
    "worker killed before COMMIT": (KILLED,),
    "worker killed after COMMIT": (KILLED,),
    "worker killed in its claim": (KILLED,),
    "worker killed after its claim": (KILLED,),
    "worker killed while it computes": (KILLED,),
    "worker killed while it loads the model": (KILLED,),
    "worker killed in a heartbeat": (KILLED,),
    "worker killed while it records an error": (KILLED, RAISED.format("RuntimeError: a fault of")),
    "parent process of a worker killed": (BROKEN_OFF,),
    "computing child killed, at any time": (KILLED,),
    "worker with its children killed": (KILLED, BROKEN_OFF),
    "all workers killed at once": (KILLED, BROKEN_OFF),
    "out of memory, host (RLIMIT_AS)": (RAISED.format("MemoryError"),),
    "out of memory, CUDA (raised in its place)": (RAISED.format("torch.OutOfMemoryError"),),
    "example raises once": (RAISED.format("RuntimeError: a fault of"),),
    "SIGSTOP past the lease, then SIGCONT": (NO_DATABASE,),
    "worker stopped for good outside of transactions": (KILLED,),
    "worker stopped for good in a transaction": (KILLED,),
    "worker stopped, then killed": (KILLED, NO_DATABASE),
    "worker stopped for good, at any time": (KILLED, BROKEN_OFF),
    "scheduler stopped for good while it expires a lease": (KILLED,),
    "scheduler stopped, then killed": (NO_DATABASE,),
    "worker cut off without a word": (KILLED, BROKEN_OFF, NO_BROKER),
    "database server frozen": (HUNG, NO_DATABASE),
    "database restarted mid-commit": (NO_DATABASE,),
    "database connections terminated mid-commit": (NO_DATABASE,),
    "database is locked": (NO_DATABASE,),
    "disk full (a small file system)": (NO_DATABASE,),
    "database server frozen for longer than anybody waits": (HUNG, NO_DATABASE),
    "broker frozen mid-run": (NO_BROKER, NO_ACK),
    "broker frozen from submission to end": (NO_BROKER, NO_ACK, KILLED, BROKEN_OFF),
    "hung kernel": (HUNG,),
    "message corrupt": (GARBLED,),
    "broker down at submit and dispatch": (NO_BROKER, NO_ACK),
    "broker down mid-run": (NO_BROKER, NO_ACK),
    "broker wiped mid-run": (NO_BROKER, NO_ACK),
    "scheduler killed while it expires a lease": (KILLED,),
    "bad example that raises": (RAISED.format("ValueError: this example is poison"),),
    "bad example that kills its worker": (KILLED,),
    "wrong clocks, by an hour": (KILLED, BROKEN_OFF),
}
"""Patterns by the name of the fault."""
