"""OpenTelemetry traces, where the standard environment variables enable them.

Nothing is imported and nothing happens unless OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER is set; OTEL_SDK_DISABLED=true and
OTEL_TRACES_EXPORTER=none turn it off again. Sampling, batching, headers and resource attributes
are OpenTelemetry's own variables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from predictor_base import __version__
from predictor_base.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

logger = logging.getLogger(__name__)

Attribute = str | bool | int | float


class Tracing:
    """One span per request, and spans below it."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import propagate, trace

        self._provider = provider
        self._tracer = provider.get_tracer("predictor_base", __version__)
        self._extract = propagate.extract
        self._server = trace.SpanKind.SERVER

    @contextmanager
    def request(
        self, name: str, *, headers: Mapping[str, str], attributes: Mapping[str, Attribute]
    ) -> Iterator[Span]:
        """A span for this request, part of the caller's trace when its headers name one.

        An exception that leaves the block is recorded on the span, and makes it an error.
        """
        with self._tracer.start_as_current_span(
            name,
            context=self._extract(headers),
            kind=self._server,
            attributes={key: value for key, value in attributes.items() if value != ""},
        ) as span:
            yield span

    def close(self, *, seconds: float = 5.0) -> None:
        """Send what is left. An exporter may take longer than these seconds: wait for it on a thread."""
        self._provider.force_flush(int(seconds * 1000))
        self._provider.shutdown()


def traceparent_of(span: Span) -> str:
    """The W3C trace context of a span, as in the header ``traceparent``."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def start_tracing(settings: Settings, environ: Mapping[str, str]) -> Tracing | None:
    """Tracing as the environment configures it; None where it is off, or libraries are missing."""
    names = exporter_names(environ)
    if not names:
        return None
    try:
        provider = _provider(settings, environ, names)
    except ImportError as error:
        logger.warning(
            "the environment enables traces, but they cannot start: %s; "
            "add opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http to requirements.txt",
            error,
        )
        return None
    from opentelemetry import trace

    # so that the predictor's own spans, and those of libraries it instruments, go to the same place
    trace.set_tracer_provider(provider)
    return Tracing(provider)


def exporter_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The exporters that the environment names, of `otlp` and `console`; may be empty."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    default = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else ""
    named = environ.get("OTEL_TRACES_EXPORTER") or default
    names = [each.strip() for each in named.split(",")]
    return tuple(each for each in names if each and each != "none")


def _provider(
    settings: Settings, environ: Mapping[str, str], names: tuple[str, ...]
) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    facts = {
        "service.name": settings.name,
        "service.version": settings.deployment_id,
        "service.instance.id": environ.get("HOSTNAME", ""),
        "deployment.environment.name": settings.environment,
        "container.image.repo_digests": settings.image_digest,
    }
    # attributes from the environment take precedence
    given = Resource.create().attributes
    added = {
        key: value
        for key, value in facts.items()
        if value and (key not in given or str(given[key]).startswith("unknown_service"))
    }
    # `Tracing.close` ends it, within the time there is; at exit it would wait again
    provider = TracerProvider(
        resource=Resource.create().merge(Resource(added)), shutdown_on_exit=False
    )
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name, environ)))
    return provider


def _exporter(name: str, environ: Mapping[str, str]) -> Any:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if name != "otlp":
        raise ImportError(f"the exporter {name} is unknown; the known are otlp, console and none")
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol == "grpc":
        # only there when its package is, which brings a large library
        from opentelemetry.exporter.otlp.proto.grpc import (  # type: ignore[import-not-found,unused-ignore]
            trace_exporter as grpc_exporter,
        )

        return grpc_exporter.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
