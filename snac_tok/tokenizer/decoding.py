"""Ids back to sound: one recording, a long one piece by piece, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from snac_tok.audio import Waveform
from snac_tok.errors import TokenError, WaveformError
from snac_tok.tokenizer.batch import AudioTokens, one_row, unpadded_rows
from snac_tok.tokenizer.eval_mode import eval_mode
from snac_tok.tokenizer.names import check_specials_skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snac_tok.codec import SNAC, Noise
    from snac_tok.frames import Vocabulary

# How many rows of a batch are decoded in one call; their sound stays on the codec's device until all are done.
_ROWS_AT_ONCE = 64


class IdDecoder:
    """Turns ids of `self.vocabulary` into sound."""

    codec: SNAC
    vocabulary: Vocabulary
    strip_specials: Callable[[Any], Any]

    def decode(
        self,
        ids: Any,
        *,
        num_samples: int | None = None,
        noise: Noise = 0,
        skip_special_tokens: bool = True,
        clean_up_tokenization_spaces: bool | None = None,  # noqa: ARG002 - there are no spaces in sound
    ) -> Waveform:
        """Turn the ids of one recording into sound.

        Args:
            ids: integers (N,) or (1, N), (slots, steps) for parallel rows, or what a call gave for one recording;
                special ids before and after the codes are skipped.
            num_samples: the original length at the codec's rate, to which the sound is trimmed.
            noise: as in `SNAC.decode`; the default seed makes decoding repeatable.
            skip_special_tokens: as in text tokenizers; it cannot be False, because special ids make no sound.
            clean_up_tokenization_spaces: accepted because text tokenizers accept it; it changes nothing.

        Returns:
            one channel at the codec's rate.

        Raises:
            TokenError: no whole frame, or ids that are not valid frames; positions count from the first code.
            WaveformError: `num_samples` is more than the ids hold.
        """
        check_specials_skipped(skip_special_tokens=skip_special_tokens)
        levels = self._levels(ids)
        length = self._length(ids, num_samples, levels)
        with eval_mode(self.codec):
            sound = self.codec.decode([level[None] for level in levels], noise=noise)
        return self._waveform(sound[0], length)

    def decode_blocks(
        self, ids: Any, *, num_samples: int | None = None, noise: int | Literal["off"] = 0
    ) -> Iterator[Waveform]:
        """Turn the ids of one recording of any length into sound piece by piece; `write_audio` takes the pieces.

        Args:
            ids: as in `decode`.
            num_samples: as in `decode`.
            noise: a seed or "off".

        Yields:
            waveforms that, joined, are what `decode` returns.

        Raises:
            TokenError: as in `decode`.
            WaveformError: as in `decode`.
        """
        levels = self._levels(ids)
        left = self._length(ids, num_samples, levels)
        for samples in self.codec.decode_blocks([level[None] for level in levels], noise=noise):
            if taken := min(samples.shape[-1], left):
                yield self._waveform(samples[0], taken)
                left -= taken
            if not left:
                return

    def batch_decode(
        self,
        sequences: Any,
        *,
        num_samples: Sequence[int | None] | None = None,
        noise: Noise = 0,
        skip_special_tokens: bool = True,
        clean_up_tokenization_spaces: bool | None = None,  # noqa: ARG002 - as in decode
    ) -> list[Waveform]:
        """Turn several rows of ids into sound, many in one call; each row sounds as it does alone.

        Options are those of `decode`. What a call of this tokenizer returned is trimmed by itself. On a GPU random
        noise depends on the other rows.

        Raises:
            TokenError: as in `decode`, naming the row.
            WaveformError: as in `decode`, naming the row.
        """
        check_specials_skipped(skip_special_tokens=skip_special_tokens)
        if isinstance(sequences, (dict, AudioTokens)):
            if num_samples is None:
                num_samples = getattr(sequences, "num_samples", None)
            sequences = unpadded_rows(sequences)
        wanted = [None] * len(sequences) if num_samples is None else list(num_samples)
        if len(wanted) != len(sequences):
            raise TokenError(f"{len(wanted)} values of num_samples were given for {len(sequences)} rows.")
        clips, lengths = [], []
        for row, (ids, length) in enumerate(zip(sequences, wanted, strict=True)):
            try:
                clips.append(self._levels(ids))
                lengths.append(self._length(ids, length, clips[-1]))
            except (TokenError, WaveformError) as error:
                raise type(error)(f"row {row}: {error}") from error
        groups = (slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(clips), _ROWS_AT_ONCE))
        with eval_mode(self.codec):
            sounds = [
                sound for group in groups for sound in self.codec.decode_batch(clips[group], noise=noise)
            ]
        return list(map(self._waveform, sounds, lengths))

    def _levels(self, ids: Any) -> list[torch.Tensor]:
        """Check ids and return their codes [(T_k,)]."""
        codes = self.vocabulary.decode(
            self.strip_specials(one_row(ids, parallel=self.vocabulary.is_parallel))
        )
        if codes[0].shape[-1] == 0:
            raise TokenError("the ids hold no frame; at least one is needed for sound.")
        return [torch.as_tensor(level) for level in codes]

    def _length(self, ids: Any, num_samples: int | None, levels: list[torch.Tensor]) -> int:
        """Return how many samples the sound of ids with these codes [(T_k,)] is to have."""
        if isinstance(ids, AudioTokens) and num_samples is None and ids.num_samples:
            num_samples = ids.num_samples[0]
        most = len(levels[0]) * self.codec.config.frame_length
        if num_samples is not None and not _is_count(num_samples, most=most):
            raise WaveformError(f"num_samples is {num_samples!r}; the ids hold 1 to {most} samples.")
        return most if num_samples is None else int(num_samples)

    def _waveform(self, sound: torch.Tensor, num_samples: int) -> Waveform:
        samples = sound[:, :num_samples].float().cpu().numpy()  # (1, T)
        return Waveform(samples=np.ascontiguousarray(samples), sampling_rate=self.codec.sampling_rate)


def _is_count(value: Any, *, most: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 1 <= int(value) <= most
