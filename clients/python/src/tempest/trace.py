"""The span of a job (OpenTelemetry), which continues the trace of whoever pushed the job.

Only where ``opentelemetry-api`` is installed (the extra ``otel``) and the program has set up a tracer provider before
its worker starts; otherwise nothing is done here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .wire import Job


def _imported(module: str) -> Any:
    """A module, or none if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


_trace = _imported("opentelemetry.trace")
_context = _imported("opentelemetry.trace.propagation.tracecontext")
_FIELD = "traceparent"


class Span:
    """The span of a job that runs; also what stands for it where nothing is traced."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def failed(self, code: str, error: BaseException | None = None) -> None:
        """The job failed with this code word."""
        if self._span is None:
            return
        if error is not None:
            self._span.record_exception(error)
        self._span.set_attribute("error.type", code)
        self._span.set_status(_trace.StatusCode.ERROR)


NO_SPAN = Span()


def is_traced() -> bool:
    """Tells whether the program has set up a tracer provider."""
    return _trace is not None and not isinstance(_trace.get_tracer_provider(), _trace.ProxyTracerProvider)


@contextmanager
def job_span(job: Job, queue: str) -> Iterator[Span]:
    """The current span while a handler runs; only where :func:`is_traced`."""
    parent = _context.TraceContextTextMapPropagator().extract({_FIELD: job.traceparent} if job.traceparent else {})
    attributes: dict[str, str | int] = {
        "tempest.queue": queue,
        "tempest.action": job.action,
        "tempest.attempt": job.attempt,
    }
    if job.id is not None:
        attributes["tempest.job.id"] = job.id
    with _trace.get_tracer("tempest").start_as_current_span(
        f"process {queue}", parent, _trace.SpanKind.CONSUMER, attributes
    ) as span:
        yield Span(span)


def traceparent(job: Job) -> str | None:
    """The trace context for what is done for a job: of the current span, else what the job came with."""
    if _trace is None:
        return job.traceparent
    carrier: dict[str, str] = {}
    _context.TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_FIELD, job.traceparent)
