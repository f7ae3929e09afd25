"""Round-trips of sound through codecs, and what they are worth in figures.

Measures come from packages that keep them well (extra `eval`); without one its column is left out, and the report
says so.
"""

from snac_tok.evaluation.alignment import find_delay, fitted
from snac_tok.evaluation.clips import find_clips
from snac_tok.evaluation.listening import SoundFolder, listening_page, remove_sounds
from snac_tok.evaluation.local_codecs import LocalCodec
from snac_tok.evaluation.loop import evaluate, first_sounds
from snac_tok.evaluation.measures import DEFAULT_MEASURES, MEASURES, Measure
from snac_tok.evaluation.picture import draw_quality
from snac_tok.evaluation.programs import CODEC2_MODES, Codec2RoundTrip, OpusRoundTrip
from snac_tok.evaluation.report import evaluation_from_json, evaluation_to_json
from snac_tok.evaluation.results import ClipResult, CodecResult, Evaluation, MeasureSummary
from snac_tok.evaluation.round_trips import Identity, Reconstruction, RoundTrip, SnacRoundTrip
from snac_tok.evaluation.specs import round_trip_from_spec, round_trips_from_specs
from snac_tok.evaluation.spectrograms import draw_portrait, draw_spectrograms
from snac_tok.evaluation.tables import evaluation_to_text

__all__ = [
    "CODEC2_MODES",
    "DEFAULT_MEASURES",
    "MEASURES",
    "ClipResult",
    "Codec2RoundTrip",
    "CodecResult",
    "Evaluation",
    "Identity",
    "LocalCodec",
    "Measure",
    "MeasureSummary",
    "OpusRoundTrip",
    "Reconstruction",
    "RoundTrip",
    "SnacRoundTrip",
    "SoundFolder",
    "draw_portrait",
    "draw_quality",
    "draw_spectrograms",
    "evaluate",
    "evaluation_from_json",
    "evaluation_to_json",
    "evaluation_to_text",
    "find_clips",
    "find_delay",
    "first_sounds",
    "fitted",
    "listening_page",
    "remove_sounds",
    "round_trip_from_spec",
    "round_trips_from_specs",
]
