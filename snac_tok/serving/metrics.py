"""What a server counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from snac_tok.codec.graph_report import GraphReport
    from snac_tok.generation import StreamTiming
    from snac_tok.serving.decoding import StepSeen

# Between one frame of a fast codec and a busy server.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FACTORS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5)
_STREAMS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one application, in a registry of its own.

    Args:
        frame_samples: how many samples a frame has.
        graph_report: tells of the codec's CUDA graphs when it is asked; None where there are none.
    """

    def __init__(
        self, *, frame_samples: int, graph_report: Callable[[], GraphReport | None] = lambda: None
    ) -> None:
        self._frame_samples = frame_samples
        self._registry = CollectorRegistry()
        self.streams = Gauge("snac_tok_streams_open", "Streams that are decoded now", registry=self._registry)
        self.requests = Counter(
            "snac_tok_requests", "Requests by path and status", ["path", "status"], registry=self._registry
        )
        self.errors = Counter("snac_tok_errors", "Errors by reason", ["reason"], registry=self._registry)
        self._frames = Counter(
            "snac_tok_frames_decoded", "Frames decoded in streams", registry=self._registry
        )
        self._first_audio = Histogram(
            "snac_tok_first_audio_seconds",
            "From a request to its first sound",
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._real_time = Histogram(
            "snac_tok_real_time_factor",
            "Seconds taken for a second of sound, by stream",
            registry=self._registry,
            buckets=_FACTORS,
        )
        self._steps = Histogram(
            "snac_tok_step_seconds",
            "How long a step of the shared decoder takes",
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._step_streams = Histogram(
            "snac_tok_step_streams",
            "Streams that a step advances",
            registry=self._registry,
            buckets=_STREAMS,
        )

        self._registry.register(_GraphFigures(graph_report))

    def note_step(self, step: StepSeen) -> None:
        """Count a step of the decoder."""
        self._frames.inc(step.num_samples / self._frame_samples)
        self._steps.observe(step.seconds)
        self._step_streams.observe(step.num_streams)

    def note_speech(self, timing: StreamTiming) -> None:
        """Count a stream that has ended, if it was heard at all."""
        if timing.first_audio_seconds is not None and timing.real_time_factor is not None:
            self._first_audio.observe(timing.first_audio_seconds)
            self._real_time.observe(timing.real_time_factor)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)


class _GraphFigures(Collector):
    """What CUDA graphs have done, read when somebody asks."""

    def __init__(self, report: Callable[[], GraphReport | None]) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        """Yield the figures; nothing without graphs."""
        if (report := self._report()) is None:
            return
        yield GaugeMetricFamily("snac_tok_cuda_graphs", "CUDA graphs captured", value=report.graphs)
        chunks = CounterMetricFamily(
            "snac_tok_cuda_graph_chunks", "Chunks that ran as graphs, and without", labels=["as_graph"]
        )
        chunks.add_metric(["yes"], report.replayed_chunks)
        chunks.add_metric(["no"], report.other_chunks)
        yield chunks
