"""Traces by OpenTelemetry, off without a setting: submit, plan, shard and commit of a job in one.

The trace of a job is known from its number and the time it was submitted, so processes that never
talk to each other put their spans into the same one, and nothing is stored for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jobs.errors import HeadwiseError, refuse
from jobs.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

_tracer: Tracer | None = None
_provider: TracerProvider | None = None
_seed: Callable[[int], str] = str


def configure_traces(
    settings: Settings,
    service: str,
    seed: Callable[[int], str],
    processor: SpanProcessor | None = None,
) -> None:
    """Begin to trace where a setting asks for it. Call it after a fork.

    `seed(job)` is a text that only this job of this database has. `processor` takes the spans
    instead of the setting's address. Raises InputError where the packages are missing.
    """
    global _tracer, _provider, _seed
    if not settings.otlp_endpoint and processor is None:
        return
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        remedy = "Install headwise[otel], or leave it empty."
        key = "HEADWISE_OTLP_ENDPOINT"
        raise refuse(key, settings.otlp_endpoint, "needs packages that are missing", remedy)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    about = {"service.name": f"headwise-{service}", "service.version": version("headwise")}
    _provider = TracerProvider(resource=Resource.create(about))
    _provider.add_span_processor(processor or _exporting(settings.otlp_endpoint))
    _tracer, _seed = _provider.get_tracer("headwise"), lru_cache(maxsize=1_000)(seed)


def _exporting(endpoint: str) -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))


def end_traces() -> None:
    """Send what is left, and trace no more."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


@contextmanager
def span(name: str, job: int, **attributes: str | int | float) -> Iterator[None]:
    """A part of a job's trace, below the part that is open in this thread; nothing when off."""
    if _tracer is None:
        yield
        return
    from opentelemetry import trace

    inner = trace.get_current_span().get_span_context().is_valid
    context = None if inner else _context(job)
    named = {f"headwise.{key}": value for key, value in {"job": job, **attributes}.items()}
    with _tracer.start_as_current_span(name, context=context, attributes=named):
        yield


def span_of_past(name: str, job: int, seconds: float) -> None:
    """A part that ended just now and took that long: its job had no number before."""
    if _tracer is None:
        return
    end = time.time_ns()
    began = end - int(seconds * 1e9)
    context = _context(job)
    found = _tracer.start_span(
        name, context=context, start_time=began, attributes={"headwise.job": job}
    )
    found.end(end_time=end)


def _context(job: int) -> Any:
    """The job's trace; another where the seed cannot be had, as no work waits for a trace."""
    from opentelemetry import trace

    try:
        seed = _seed(job)
    except HeadwiseError:
        return None
    digest = hashlib.sha256(f"{seed}/{job}".encode()).digest()
    root = trace.SpanContext(
        trace_id=int.from_bytes(digest[:16], "big"),
        span_id=int.from_bytes(digest[16:24], "big"),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(root))
