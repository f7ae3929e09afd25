"""The codec that ships for trials: how it is recognised, and what its ids are not.

Its codes have the shape of the released speech codec's, so its ids pass for a published model's; only a warning can
tell them apart. Which doors warn is decided where codecs and id tables meet: the tokenizer, and readers of shards.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch

from snac_tok.codec import checkpoint
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.network import Network
from snac_tok.codec.ops.weight_cache import versions
from snac_tok.errors import TrialCodecWarning

TRIAL_CODEC = "tiny"
RELEASED_SPEECH_CODEC = "hubertsiuzdak/snac_24khz"

# What was found, and for which weights.
_recognised: WeakKeyDictionary[Network, tuple[tuple[int, ...], bool]] = WeakKeyDictionary()


def is_trial(codec: Network) -> bool:
    """Tell whether a codec has the trial codec's codebooks, under whatever name it was saved and loaded."""
    version = versions(codec.quantizer.parameters())
    known = _recognised.get(codec)
    if known is None or known[0] != version:
        found = codec.config == _trial_config() and _has_trial_codebooks(codec)
        _recognised[codec] = known = version, found
    return known[1]


def warn_of_trial_ids(preset_name: str) -> None:
    """Say that ids of a published model's preset were made with the trial codec.

    Always from this line: Python shows a warning once for each place that it comes from.
    """
    warnings.warn(
        f'"{TRIAL_CODEC}" is a codec for trials: its {preset_name!r} ids look right and mean nothing to models trained '
        f"with {RELEASED_SPEECH_CODEC}, as the published ones were, nor theirs to it; name that codec for them.",
        TrialCodecWarning,
        stacklevel=1,
    )


@lru_cache(maxsize=1)
def _trial_config() -> CodecConfig:
    return CodecConfig.from_json(checkpoint.files_in(checkpoint.EMBEDDED[TRIAL_CODEC]).config)


def _has_trial_codebooks(codec: Network) -> bool:
    # Not the codec's own names: another decoder may be in the place of its own.
    with torch.device("meta"):
        expected = Network(**codec.config.to_dict()).state_dict()
    wanted = checkpoint.read_weights(
        checkpoint.files_in(checkpoint.EMBEDDED[TRIAL_CODEC]).weights, expected=expected
    )
    found = {f"quantizer.{name}": tensor for name, tensor in codec.quantizer.state_dict().items()}
    return all(
        name in found and torch.equal(found[name].cpu(), tensor.to(found[name].dtype))
        for name, tensor in wanted.items()
        if name.startswith("quantizer.")
    )
