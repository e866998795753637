"""A worker in Python whose spans go to a collector: each job's is a child of the front's.

Where to is said by ``OTEL_EXPORTER_OTLP_ENDPOINT``, as what by ``OTEL_SERVICE_NAME``.
"""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tempest import Worker

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

worker = Worker()


@worker.on("url")
def answer(request, context):
    """Answers with the trace context that a request to somebody else would carry."""
    if request.path == "/python/fails":
        raise RuntimeError("as it was asked to")
    # A span of the handler's own stands below that of its job.
    with trace.get_tracer("traces").start_as_current_span("think"):
        context.push("mails", "mail", "Bob")
    return context.traceparent or ""


@worker.on("mail")
def mail(to):
    """A background job: its span is a child of the one that pushed it, whatever the language."""


if __name__ == "__main__":
    worker.run()
    provider.shutdown()
