"""OpenTelemetry traces: submit, plan, shard and commit of a job in one trace. Off by default.

The trace id follows from the job's number and the time it was submitted, so that processes that
never talk to each other contribute to the same trace, and nothing has to be stored for it.
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

_PACKAGES = {
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}
_tracer: Tracer | None = None
_provider: TracerProvider | None = None
_seed: Callable[[int], str] = str


def configure_traces(
    settings: Settings,
    service: str,
    seed: Callable[[int], str],
    processor: SpanProcessor | None = None,
) -> None:
    """Start tracing if a setting asks for it. Call it after a fork.

    `seed(job)` returns a string that is unique to this job of this database. `processor` receives
    the spans instead of the setting's address.
    """
    global _tracer, _provider, _seed
    if not settings.otlp_endpoint and processor is None:
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    about = {"service.name": f"headwise-{service}", "service.version": version("headwise")}
    _provider = TracerProvider(resource=Resource.create(about))
    _provider.add_span_processor(processor or _exporting(settings.otlp_endpoint))
    _tracer, _seed = _provider.get_tracer("headwise"), lru_cache(maxsize=1_000)(seed)


def check_traces(settings: Settings) -> None:
    """Check that traces can be sent if a setting asks for it. Raises InputError."""
    if not settings.otlp_endpoint:
        return
    missing = [name for module, name in _PACKAGES.items() if not _is_installed(module)]
    if missing:
        raise refuse(
            "HEADWISE_OTLP_ENDPOINT",
            settings.otlp_endpoint,
            f"needs packages that are missing: {', '.join(missing)}",
            f"Install them: `pip install {' '.join(missing)}`; or leave it empty.",
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _exporting(endpoint: str) -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))


def end_traces() -> None:
    """Send the remaining spans and stop tracing."""
    global _tracer, _provider
    if _provider is not None:
        _provider.shutdown()
    _tracer = _provider = None


@contextmanager
def span(name: str, job: int, **attributes: str | int | float) -> Iterator[None]:
    """Record a span of a job's trace, as a child of the span open in this thread."""
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
    """Record a span that ended just now: its job had no number while it ran."""
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
    """Return the job's trace; None, which begins another, if the seed cannot be read."""
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
