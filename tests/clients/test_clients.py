"""What each family of clients does with a SNAC model, in recipes of ours: the same with `snac` and with snac_tok.

Equal weights and seeds give equal codes, and sound that is equal to 1e-6.
"""

import numpy as np
import torch


def speech_ids(frames, *, seed=1, offset=0):
    """Ids of whole frames, seven a frame, each slot with its own range of 4,096."""
    codes = np.random.default_rng(seed).integers(0, 4096, (frames, 7))
    return (codes + 4096 * np.arange(7) + offset).reshape(-1).tolist()


def levels_of(ids, *, offset=0):
    """Three (1, T) int32 levels of depth-first ids."""
    frames = torch.tensor(ids, dtype=torch.int32).reshape(-1, 7) - offset - 4096 * torch.arange(7)
    slots = ((0,), (1, 4), (2, 3, 5, 6))
    return [frames[:, list(each)].reshape(1, -1).to(torch.int32) for each in slots]


def sound_for(values, *, seconds=0.4, batch=1):
    """Sound (B, 1, T)."""
    length = int(seconds * values["sampling_rate"])
    return torch.randn(batch, 1, length, generator=torch.Generator().manual_seed(3)) * 0.3


def test_orpheus_decodes_windows_of_four_frames(speech, both):
    """The last 28 tokens again and again, of which the second frame's samples are kept."""

    def recipe(client):
        ids, pieces = speech_ids(7, offset=10), []
        for end in range(28, len(ids) + 1, 7):
            codes = levels_of(ids[end - 28 : end], offset=10)
            assert not any(bool(((level < 0) | (level > 4096)).any()) for level in codes)
            audio = client.model.decode(codes)[:, :, 2048:4096]
            pieces.append(audio.detach().cpu())
        return torch.cat(pieces, dim=-1)

    both(recipe, speech)


def test_maya1_calls_quantizer_and_decoder(speech, both):
    """`from_codes`, then `decoder(z)`: with noise, as upstream's decoder draws it."""

    def recipe(client):
        codes = [level.long() for level in levels_of(speech_ids(6))]
        z_q = client.model.quantizer.from_codes(codes)
        return client.model.decoder(z_q)[0, 0].cpu()

    noisy, _ = both(recipe, speech)
    torch.manual_seed(6)
    with torch.inference_mode():
        assert not torch.equal(recipe(speech[1]), noisy)


def test_baseten_decodes_windows_of_many_requests_at_once(speech, both):
    """Stacked windows through `from_codes` and `decoder`, the middle of each kept."""

    def recipe(client):
        windows = [levels_of(speech_ids(4, seed=seed)) for seed in range(3)]
        codes = [torch.cat(level) for level in zip(*windows, strict=True)]
        audio = client.model.decoder(client.model.quantizer.from_codes(codes).float())
        return audio[:, :, 2048:4096]

    both(recipe, speech)


def test_flashtts_asks_the_model_for_its_sizes(pair, both):
    """Codebooks counted and addressed through the quantizer before decoding."""

    def recipe(client):
        quantizer = client.model.quantizer
        sizes = [quantizer.n_codebooks, quantizer.codebook_size, quantizer.codebook_dim]
        frames = 8 // max(client.values["vq_strides"]) * 2
        codes = [
            torch.randint(
                0, level.codebook_size, (2, frames * client.values["vq_strides"][0] // level.stride)
            )
            for level in quantizer.quantizers
        ]
        return sizes, client.model.decoder(quantizer.from_codes(codes))

    both(recipe, pair)


def test_mlx_audio_decodes_what_it_has_so_far(speech, both):
    """Ever longer clips through decode, squeezed to one dimension."""

    def recipe(client):
        ids = speech_ids(5)
        return [client.model.decode(levels_of(ids[: 7 * n])).squeeze() for n in range(1, 6)]

    both(recipe, speech)


def test_vita_audio_encodes_breadth_first_and_back(speech, both):
    """Sound to codes, frames level by level, and back."""

    def recipe(client):
        codes = client.model.encode(sound_for(client.values))
        frames = torch.cat([codes[0].T, codes[1].reshape(-1, 2), codes[2].reshape(-1, 4)], dim=1)
        split = frames[:, :1], frames[:, 1:3], frames[:, 3:]
        return codes, frames, client.model.decode([part.reshape(1, -1) for part in split])

    both(recipe, speech)


def test_mini_omni_reads_seven_delayed_rows(speech, both):
    """Row r comes r + 1 steps late; undelayed, the rows are the frame's slots."""

    def recipe(client):
        ids = torch.tensor(speech_ids(6)).reshape(6, 7) % 4096
        delayed = torch.full((7, 14), 4097)
        for row in range(7):
            delayed[row, row + 1 : row + 7] = ids[:, row]
        rows = torch.stack([delayed[row, row + 1 : row + 7] for row in range(7)])
        codes = [rows[0][None], rows[[1, 4]].T.reshape(1, -1), rows[[2, 3, 5, 6]].T.reshape(1, -1)]
        return client.model.decode(codes)

    both(recipe, speech)


def test_vyvotts_tokenizes_row_by_row(speech, both):
    """A clip at a time, interleaved by hand with offsets."""

    def recipe(client):
        audio = sound_for(client.values)[0]
        codes = client.model.encode(audio.unsqueeze(dim=0))
        ids = []
        for i in range(codes[0].shape[1]):
            frame = [codes[0][0][i], codes[1][0][2 * i], codes[2][0][4 * i], codes[2][0][4 * i + 1]]
            frame += [codes[1][0][2 * i + 1], codes[2][0][4 * i + 2], codes[2][0][4 * i + 3]]
            ids += [int(code) + 128266 + 4096 * slot for slot, code in enumerate(frame)]
        return ids

    both(recipe, speech)


class Vocos(torch.nn.Module):
    """A decoder of another kind: latents to sound by one projection."""

    def __init__(self, dim, hop):
        super().__init__()
        self.head = torch.nn.Linear(dim, hop)

    def forward(self, latents):
        """Decode (B, C, T)."""
        return self.head(latents.transpose(1, 2)).flatten(1).unsqueeze(1)


def test_snac_vocos_puts_another_decoder_in(pair, both):
    """`from_codes` for a decoder of one's own, also in the model's place."""

    def recipe(client):
        model = client.model
        model.decoder = Vocos(model.latent_dim, int(model.hop_length))
        codes = model.encode(sound_for(client.values))
        sound, _ = model(sound_for(client.values))
        return codes, model.decoder(model.quantizer.from_codes(codes)), model.decode(codes), sound

    both(recipe, pair)


def test_latents_are_taken_from_the_encoder(pair, both):
    """Features for other models: continuous latents, and the levels' own residuals."""

    def recipe(client):
        model = client.model
        z = model.encoder(model.preprocess(sound_for(client.values, batch=2)))
        residual, parts = z, []
        for level in model.quantizer.quantizers:
            z_q_i, indices = level(residual)
            residual = residual - z_q_i
            parts += [indices, z_q_i, level.decode_code(indices), level.embed_code(indices)]
        projected = model.quantizer.quantizers[0].in_proj(z)
        return z, parts, model.quantizer(z), model.quantizer.quantizers[0].decode_latents(projected)

    both(recipe, pair, atol=2e-6)


def test_whole_round_trips(pair, both):
    """The model called as a function trims to its input."""
    both(lambda client: client.model(sound_for(client.values, batch=2)), pair)


def test_fine_tuning_the_decoder(pair, both):
    """Latents without gradients, a loss on `decoder(z)`, a step: gradients and sound are upstream's."""

    def recipe(client):
        model = client.model.train()
        with torch.no_grad():
            z = model.encoder(model.preprocess(sound_for(client.values)))
        audio = model.decoder(z)
        audio.square().mean().backward()
        return audio.detach(), {
            name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None
        }

    both(recipe, pair, grad=True)


def test_gradients_through_the_decoder_of_a_model_in_eval_mode(pair, both):
    """A loss on sound reaches the latents, and the weights."""

    def recipe(client):
        z = client.model.encoder(client.model.preprocess(sound_for(client.values))).detach()
        z.requires_grad_()
        client.model.decoder(z).square().mean().backward()
        return z.grad, client.model.decoder.model[0].bias.grad

    both(recipe, pair, grad=True)
