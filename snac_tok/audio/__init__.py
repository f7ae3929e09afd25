"""Sound: files, arrays and tensors to `Waveform`, one rate to another, many channels to one, and back.

No network code, no torch: torchaudio and torchcodec are imported only if a caller or a file needs them.
"""

from __future__ import annotations

from snac_tok.audio.channels import (
    ChannelPolicy,
    MonoPolicy,
    check_policy,
    mono_blocks,
    select_channels,
    to_mono,
)
from snac_tok.audio.conversion import as_waveform
from snac_tok.audio.files import AudioInfo, OpenAudio, audio_info, iter_audio, open_audio, read_audio
from snac_tok.audio.opening import AudioSource, FileBackend
from snac_tok.audio.resampling import (
    Resampler,
    StreamResampler,
    resample,
    resample_blocks,
    resampled_length,
)
from snac_tok.audio.sampling_rate import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE, check_sampling_rate
from snac_tok.audio.waveform import (
    MAX_CHANNELS,
    Waveform,
)
from snac_tok.audio.writing import write_audio

__all__ = [
    "MAX_CHANNELS",
    "MAX_SAMPLING_RATE",
    "MIN_SAMPLING_RATE",
    "AudioInfo",
    "AudioSource",
    "ChannelPolicy",
    "FileBackend",
    "MonoPolicy",
    "OpenAudio",
    "Resampler",
    "StreamResampler",
    "Waveform",
    "as_waveform",
    "audio_info",
    "check_policy",
    "check_sampling_rate",
    "iter_audio",
    "mono_blocks",
    "open_audio",
    "read_audio",
    "resample",
    "resample_blocks",
    "resampled_length",
    "select_channels",
    "to_mono",
    "write_audio",
]
