"""Ids back to sound: one recording, a long one piece by piece, many at once."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from snac_tok.audio import Waveform
from snac_tok.codec.transfers import batches_ahead, pipelined, queued
from snac_tok.errors import CodesError, TokenError, WaveformError
from snac_tok.frames.arrays import is_integers
from snac_tok.frames.id_table import MAX_LENGTH
from snac_tok.frames.mistaken_codes import advice, shapes_in, shapes_of_codes, shown
from snac_tok.masked import refuse_masked
from snac_tok.streaming.frame_repair import repair_ids
from snac_tok.streaming.repair_report import RepairReport, checked_on_error, warn_of_repairs
from snac_tok.tokenizer.batch import lengths_in, one_row, rows_of, unpadded_rows
from snac_tok.tokenizer.eval_mode import eval_mode
from snac_tok.tokenizer.names import check_specials_skipped
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snac_tok.codec import SNAC, Noise
    from snac_tok.frames import Vocabulary
    from snac_tok.streaming.repair_report import OnError

# How much is decoded in one call: rows on a CPU; on a GPU sound, about three of its calls of the 24 kHz decoder, whose
# copy to the host is queued before the next call.
_ROWS_AT_ONCE, _GPU_SECONDS = 64, 480.0
_NEEDED = "a list of whole numbers (T_k,) for each level"


class IdDecoder:
    """Turns ids of `self.vocabulary` into sound."""

    codec: SNAC
    vocabulary: Vocabulary
    device_seconds: float
    strip_specials: Callable[[Any], Any]

    def decode(
        self,
        ids: Any,
        *,
        num_samples: int | None = None,
        noise: Noise = 0,
        on_error: OnError = "strict",
        skip_special_tokens: bool = True,
        clean_up_tokenization_spaces: bool | None = None,  # noqa: ARG002 - there are no spaces in sound
    ) -> Waveform:
        """Turn the ids of one recording into sound.

        Args:
            ids: integers (N,) or (1, N), (slots, steps) for parallel rows, what a call gave for one recording, or a row
                of a data set with `input_ids`; special ids before and after the codes are skipped.
            num_samples: the original length at the codec's rate, to which the sound is trimmed; None is what the row
                itself says under this name, else all of the last frame.
            noise: as in `SNAC.decode`; the default seed makes decoding repeatable.
            on_error: "strict" refuses ids that are out of place; "resync" leaves their frame out and "conceal" fills it
                from the one before, which keeps the time. `repair_ids` gives the report to programs.
            skip_special_tokens: as in text tokenizers; it cannot be False, because special ids make no sound.
            clean_up_tokenization_spaces: accepted because text tokenizers accept it; it changes nothing.

        Returns:
            one channel at the codec's rate.

        Raises:
            TokenError: no whole frame, or ids that are not valid frames; positions count from the first code.
            WaveformError: `num_samples` is more than the ids hold; where they were repaired, the sound is shorter then.

        Warns:
            LostSpeechWarning: what was repaired.
        """
        check_specials_skipped(skip_special_tokens=skip_special_tokens)
        levels, report = self._levels(ids, on_error)
        length = self._length(ids, num_samples, levels, report)
        warn_of_repairs({"": report})
        return self._sound(levels, length, noise)

    def decode_codes(self, codes: Any, *, num_samples: int | None = None, noise: Noise = 0) -> Waveform:
        """Turn the raw codes of one recording, as `encode_codes` gives them, into sound.

        Args:
            codes: integers (T_k,) for each level, the coarsest first; without the finest it sounds coarser. Levels that
                the id table does not have are left out.
            num_samples: as in `decode`.
            noise: as in `decode`.

        Returns:
            one channel at the codec's rate.

        Raises:
            CodesError: levels that are not the same frames, no frame, or codes that the codec does not have.
            WaveformError: `num_samples` is more than the codes hold.

        Example:
            >>> import numpy as np
            >>> from snac_tok import SnacTokenizer, Waveform
            >>> tok = SnacTokenizer.from_pretrained("tiny")
            >>> (codes,) = tok.encode_codes([Waveform(samples=np.zeros((1, 24_000), np.float32), sampling_rate=24_000)])
            >>> tok.decode_codes(codes[:1], num_samples=24_000).samples.shape
            (1, 24000)
        """
        levels = self._given_levels(codes)
        return self._sound(levels, self._length(None, num_samples, levels, RepairReport()), noise)

    def decode_blocks(
        self,
        ids: Any,
        *,
        num_samples: int | None = None,
        noise: int | Literal["off"] = 0,
        on_error: OnError = "strict",
    ) -> Iterator[Waveform]:
        """Turn the ids of one recording of any length into sound piece by piece; `write_audio` takes the pieces.

        Args:
            ids: as in `decode`.
            num_samples: as in `decode`.
            noise: a seed or "off".
            on_error: as in `decode`.

        Yields:
            waveforms that, joined, are what `decode` returns.

        Raises:
            TokenError: as in `decode`.
            WaveformError: as in `decode`.

        Warns:
            LostSpeechWarning: as in `decode`.
        """
        levels, report = self._levels(ids, on_error)
        left = self._length(ids, num_samples, levels, report)
        warn_of_repairs({"": report})
        yield from self._sound_blocks(levels, left, noise)

    def decode_code_blocks(
        self, codes: Any, *, num_samples: int | None = None, noise: int | Literal["off"] = 0
    ) -> Iterator[Waveform]:
        """Turn the raw codes of one recording of any length into sound piece by piece.

        Args:
            codes: as in `decode_codes`.
            num_samples: as in `decode`.
            noise: a seed or "off".

        Yields:
            waveforms that, joined, are what `decode_codes` returns.

        Raises:
            CodesError: as in `decode_codes`.
            WaveformError: as in `decode_codes`.
        """
        levels = self._given_levels(codes)
        yield from self._sound_blocks(levels, self._length(None, num_samples, levels, RepairReport()), noise)

    def batch_decode(
        self,
        sequences: Any,
        *,
        num_samples: Sequence[int | None] | None = None,
        noise: Noise = 0,
        on_error: OnError = "strict",
        skip_special_tokens: bool = True,
        clean_up_tokenization_spaces: bool | None = None,  # noqa: ARG002 - as in decode
    ) -> list[Waveform]:
        """Turn several rows of ids into sound, many in one call; each row sounds as it does alone.

        Options are those of `decode`. What a call of this tokenizer returned, and rows of a data set with a column
        `num_samples`, are trimmed by themselves. On a GPU random noise depends on the other rows.

        Raises:
            TokenError: as in `decode`, naming the row; or what is given has no rows, or masks that do not fit them.
            WaveformError: as in `decode`, naming the row.

        Warns:
            LostSpeechWarning: once, naming the rows that were repaired.
        """
        check_specials_skipped(skip_special_tokens=skip_special_tokens)
        if isinstance(sequences, Mapping):
            if num_samples is None:
                num_samples = lengths_in(sequences)
            sequences = unpadded_rows(sequences, parallel=self.vocabulary.is_parallel)
        sequences = rows_of(sequences, name="sequences")
        if sequences and _count(sequences[0]) is not None and shapes_in(sequences[:1]) == [()]:
            raise TokenError(
                f"sequences is one row of {counted(len(sequences), 'id')}; decode takes one row, batch_decode a list "
                "of rows: [ids]."
            )
        wanted = [None] * len(sequences) if num_samples is None else list(num_samples)
        if len(wanted) != len(sequences):
            raise TokenError(f"{len(wanted)} values of num_samples were given for {len(sequences)} rows.")
        clips, lengths, reports = [], [], {}
        for row, (ids, length) in enumerate(zip(sequences, wanted, strict=True)):
            try:
                levels, report = self._levels(ids, on_error)
                lengths.append(self._length(ids, length, levels, report))
            except (TokenError, WaveformError) as error:
                layout, size = self.vocabulary.layout, self.vocabulary.codebook_size
                guess = advice(sequences, layout, size, is_sure=False)
                raise type(error)(f"row {row}: {error}{guess and ' '}{guess}") from error
            clips.append(levels)
            reports[f"row {row}"] = report
        warn_of_repairs(reports)
        sounds = self._sounds(clips, noise)
        return [self._waveform(sounds[row], length) for row, length in enumerate(lengths)]

    def _sounds(self, clips: list[list[torch.Tensor]], noise: Noise) -> dict[int, torch.Tensor]:
        """Decode rows of codes [(T_k,)] to sound (1, T) on the host, by row."""
        device = self.codec.device
        sounds: dict[int, torch.Tensor] = {}

        def begin(rows: Sequence[int]) -> Callable[[], tuple[list[torch.Tensor], float]]:
            group = [clips[row] for row in rows]
            return queued(
                lambda: [sound.float() for sound in self.codec.decode_batch(group, noise=noise)], device
            )

        groups = self._groups([len(levels[0]) for levels in clips])
        with eval_mode(self.codec):
            found = pipelined(begin, groups, ahead=batches_ahead(device))
            for rows, (made, seconds) in zip(groups, found, strict=True):
                sounds |= zip(rows, made, strict=True)
                self.device_seconds += seconds
        return sounds

    def _groups(self, frames: list[int]) -> list[list[int]]:
        """Return the rows, of so many frames each, that are decoded in one call; on a GPU those of similar length."""
        rows = list(range(len(frames)))
        if not batches_ahead(self.codec.device):
            return [rows[start : start + _ROWS_AT_ONCE] for start in rows[::_ROWS_AT_ONCE]]
        most = _GPU_SECONDS * self.codec.config.frames_per_second
        groups: list[list[int]] = []
        held = most
        for row in sorted(rows, key=frames.__getitem__):
            if held + frames[row] > most:
                groups.append([])
                held = 0
            groups[-1].append(row)
            held += frames[row]
        return groups

    def _given_levels(self, codes: Any) -> list[torch.Tensor]:
        """Return codes [(T_k,)] as tensors; the codec checks the rest."""
        try:
            levels = [_as_tensor(level) for level in codes]
        except CodesError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:
            raise CodesError(f"the codes are {type(codes).__name__}; {_NEEDED} is needed.") from error
        if not levels or any(level.ndim != 1 for level in levels):
            raise CodesError(self._wrong_levels(levels))
        return levels[: self.vocabulary.layout.num_levels]

    def _wrong_levels(self, levels: list[torch.Tensor]) -> str:
        """Say what came in the place of levels (T_k,), and what takes it."""
        if levels and all(level.ndim == 0 and is_integers(level) for level in levels):
            return (
                f"the codes are one row of {len(levels)} whole numbers, as ids are; decode(ids) takes those."
            )
        cure = ""
        if shapes := shapes_of_codes(levels, self.vocabulary.layout):
            cure = " codec.decode(codes) takes codes with a batch in front"
            cure += ", [level[0] for level in codes] is without." if shapes[0][0] == 1 else "."
        return f"the codes have the shapes {shown(shapes_in(levels)) or '[]'}; {_NEEDED} is needed.{cure}"

    def _sound(self, levels: list[torch.Tensor], num_samples: int, noise: Noise) -> Waveform:
        with eval_mode(self.codec):
            sound = self.codec.decode([level[None] for level in levels], noise=noise)
        return self._waveform(sound[0], num_samples)

    def _sound_blocks(
        self, levels: list[torch.Tensor], num_samples: int, noise: int | Literal["off"]
    ) -> Iterator[Waveform]:
        for samples in self.codec.decode_blocks([level[None] for level in levels], noise=noise):
            if taken := min(samples.shape[-1], num_samples):
                yield self._waveform(samples[0], taken)
                num_samples -= taken
            if not num_samples:
                return

    def _levels(self, ids: Any, on_error: OnError) -> tuple[list[torch.Tensor], RepairReport]:
        """Check or repair ids; return their codes [(T_k,)], and what was repaired."""
        report = RepairReport()
        try:
            line = self.strip_specials(one_row(ids, parallel=self.vocabulary.is_parallel))
            if checked_on_error(on_error) != "strict":
                found = repair_ids(line, self.vocabulary, on_error=on_error)
                line, report = found.ids, found.report
            codes = self.vocabulary.decode(line)
        except TokenError as error:
            raise self._advised(ids, error) from error
        if codes[0].shape[-1] == 0:
            why = f" ({report})" if report else ""
            raise TokenError(f"the ids hold no frame{why}; at least one is needed for sound.")
        return [torch.as_tensor(level, device="cpu") for level in codes], report

    def _advised(self, given: Any, error: TokenError) -> TokenError:
        """Return the error; where raw codes were given for ids, one that says so."""
        found = advice(given, self.vocabulary.layout, self.vocabulary.codebook_size)
        return TokenError(found) if found else error

    def _length(
        self, ids: Any, num_samples: int | None, levels: list[torch.Tensor], report: RepairReport
    ) -> int:
        """Return how many samples the sound of codes [(T_k,)] is to have; `ids` are those they come from, if any."""
        if isinstance(ids, Mapping) and num_samples is None:
            num_samples = next(iter(lengths_in(ids) or ()), None)
        most = len(levels[0]) * self.codec.config.frame_length
        if num_samples is None:
            return most
        count = _count(num_samples)
        # Frames that were lost make the sound shorter than the recording.
        if count is None or not 1 <= count <= (MAX_LENGTH if report.num_faults else most):
            held = "codes" if ids is None else "ids"
            raise WaveformError(f"num_samples is {num_samples!r}; the {held} hold 1 to {most} samples.")
        return min(count, most)

    def _waveform(self, sound: torch.Tensor, num_samples: int) -> Waveform:
        samples = sound[:, :num_samples].float().cpu().numpy()  # (1, T)
        return Waveform(samples=np.ascontiguousarray(samples), sampling_rate=self.codec.sampling_rate)


def _count(value: Any) -> int | None:
    """Return a whole number of any kind, a tensor of one included, as an int; None for anything else."""
    try:
        number = value.item() if hasattr(value, "item") else value
        return None if isinstance(number, bool) else operator.index(number)
    except (TypeError, ValueError, RuntimeError):
        return None


def _as_tensor(level: Any) -> torch.Tensor:
    refuse_masked(level, what="codes", error=CodesError)
    # A copy: codes out of a file are arrays that cannot be written to, of which torch warns.
    return level if isinstance(level, torch.Tensor) else torch.tensor(np.asarray(level), device="cpu")
