"""Models that clients change: hooks, wrappers, exchanged layers, graphs. What runs is what was put in, as upstream."""

import copy
import io
import pickle
import sys

import pytest
import snac
import torch
from test_clients import sound_for
from torch import nn
from torch.nn.utils import parametrize

import snac_tok.compat
from snac_tok.codec import chunked
from snac_tok.codec.incremental import ChunkDecoder
from snac_tok.codec.noise import DrawnNoise
from snac_tok.errors import CodesError, NetworkError


def codes_for(client, *, batch=2):
    """Codes of some sound."""
    return client.model.encode(sound_for(client.values, batch=batch))


def test_hooks_fire_everywhere(pair, both):
    """On the networks, on blocks and on single layers: once, with upstream's inputs and outputs."""

    def recipe(client):
        seen, model = [], client.model
        watched = {
            "encoder": model.encoder,
            "first": model.encoder.block[0],
            "unit": model.encoder.block[1].block[0],
            "sequence": model.decoder.model,
            "noise": model.decoder.model[-4].block[2],
            "linear": model.decoder.model[-4].block[2].linear,
            "conv": model.decoder.model[-4].block[-1].block[3],
            "decoder": model.decoder,
            "projection": model.quantizer.quantizers[0].out_proj,
            "codebook": model.quantizer,
        }
        hooks = [
            module.register_forward_hook(lambda _, x, y, name=name: seen.append((name, x[0].clone(), y)))
            for name, module in watched.items()
        ]
        sound = model.decode(model.encode(sound_for(client.values, batch=2)))
        whole, _ = model(sound_for(client.values))
        for hook in hooks:
            hook.remove()
        names = [name for name, _, _ in seen]
        assert set(names) == set(watched)
        return names, [pair[1:] for pair in seen], sound, whole, model.decode(codes_for(client))

    both(recipe, pair, atol=3e-6)


def test_pre_hooks_change_what_a_layer_gets(pair, both):
    """A hook's return value counts: half the latents, twice the gain."""

    def recipe(client):
        model = client.model
        first = model.decoder.register_forward_pre_hook(lambda _, x: (x[0] * 0.5,))
        second = model.decoder.model[0].register_forward_hook(lambda _, __, y: y * 2)
        sound = model.decode(codes_for(client))
        first.remove(), second.remove()
        return sound

    both(recipe, pair)


def test_hooks_on_all_modules(pair, both):
    """Torch's global hooks see every module."""

    def recipe(client):
        seen = []
        handle = nn.modules.module.register_module_forward_hook(lambda module, _, __: seen.append(module))
        try:
            sound = client.model.decode(codes_for(client))
        finally:
            handle.remove()
        return sound, sum(module in set(client.model.decoder.model) for module in seen)

    both(recipe, pair)


def without_noise(client, module, *, count):
    """Put an Identity in the place of the first noise blocks, found by their class."""
    for name, child in module.named_children():
        if isinstance(child, client.snac.layers.NoiseBlock) and count:
            setattr(module, name, nn.Identity())
            count -= 1
        count = without_noise(client, child, count=count)
    return count


@pytest.mark.parametrize("count", [1, 99])
def test_noise_blocks_become_identities(pair, both, count):
    """All of them or one: the others draw what upstream's draw."""

    def recipe(client):
        without_noise(client, client.model.decoder, count=count)
        return client.model.decode(codes_for(client)), torch.rand(1)

    both(recipe, pair)


def test_streams_run_without_noise_blocks(speech):
    """With all noise blocks away, chunks and streams go on, and give the sound without noise."""
    ours = speech[1]
    codes = codes_for(ours, batch=1)
    wanted = ours.model.decode(codes, noise="off")
    without_noise(ours, ours.model.decoder, count=99)
    decoder = ChunkDecoder(ours.model.fold_weight_norm(), None)
    with torch.no_grad():
        torch.testing.assert_close(decoder.push(codes, last=True), wanted, rtol=0, atol=1e-6)
    assert torch.equal(torch.cat(list(ours.model.decode_blocks(codes, noise=3)), dim=-1), wanted)


class Louder(nn.Module):
    """A wrapper that says nothing of noise."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z):
        """Run what is inside."""
        return self.inner(z) * 2


class Handing(Louder):
    """A wrapper that hands options on."""

    def forward(self, z, **options):
        """Run what is inside."""
        return self.inner(z, **options) * 2


@pytest.mark.parametrize(
    "wrap",
    [
        Louder,
        nn.DataParallel,
        nn.Sequential,
        pytest.param(lambda decoder: torch.compile(decoder, backend="eager"), marks=pytest.mark.slow),
        lambda decoder: torch.jit.trace(
            decoder, torch.zeros(2, decoder.model[0].in_channels, 8), check_trace=False
        ),
    ],
    ids=["own", "DataParallel", "Sequential", "compile", "trace"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_the_decoder_is_wrapped(tiny, both, wrap):
    """A wrapper in the decoder's place is called, with one argument, whole."""

    def recipe(client):
        codes = codes_for(client)
        client.model.decoder = wrap(client.model.decoder)
        torch.manual_seed(8)
        return client.model.decode([level[:, : level.shape[1] // codes[0].shape[1] * 2] for level in codes])

    both(recipe, tiny)


@pytest.mark.parametrize(
    "place", ["forward", "block", "snake", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_parts_of_networks_are_replaced(tiny, both, place):
    """A forward of one's own, a compiled one, a block and a layer of another class."""

    class Halved(nn.Module):
        def forward(self, x):
            return x * 0.5

    def recipe(client):
        decoder = client.model.decoder
        if place == "forward":
            decoder.forward = lambda z, forward=decoder.forward: forward(z) * 0.5
        elif place == "compile":
            decoder.compile(backend="eager")
        elif place == "block":
            decoder.model[-4].block = nn.Sequential(*list(decoder.model[-4].block)[:3])
        else:
            decoder.model[-3] = Halved()
        return client.model.decode(codes_for(client)), client.model(sound_for(client.values))

    both(recipe, tiny)


def test_seeds_reach_wrapped_decoders_or_are_refused(speech):
    """noise= is handed on where a wrapper takes it; a wrapper that would lose it is told so."""
    ours = speech[1].model
    codes = codes_for(speech[1])
    wanted = ours.decode(codes, noise=7)
    plain = ours.decoder
    ours.decoder = Handing(plain)
    torch.testing.assert_close(ours.decode(codes, noise=7), 2 * wanted, rtol=0, atol=1e-6)
    ours.decoder = nn.DataParallel(plain)
    torch.testing.assert_close(ours.decode(codes, noise=7), wanted, rtol=0, atol=1e-6)
    ours.decoder = Louder(plain)
    for noise in (7, "off"):
        with pytest.raises(NetworkError, match="a Louder, whose forward takes no noise="):
            ours.decode(codes, noise=noise)
    ours.decoder = plain
    plain.model[-4].block[2] = nn.Sequential(plain.model[-4].block[2])
    with pytest.raises(NetworkError, match="1 noise blocks are inside of layers that take no noise"):
        ours.decode(codes, noise="off")


@torch.no_grad()
def test_the_decoder_takes_noise_by_keyword(pair):
    """A seed, "off" and "random" mean what they mean to decode; other values are refused."""
    ours = pair[1].model
    codes = codes_for(pair[1])
    z = ours.quantizer.from_codes(codes)
    for noise in (7, "off"):
        found = ours.decoder(z, noise=noise)
        torch.testing.assert_close(found, ours.decode(codes, noise=noise), rtol=0, atol=1e-6)
        ours.decoder.model[0].register_forward_hook(lambda *_: None)
        torch.testing.assert_close(ours.decoder(z, noise=noise), found, rtol=0, atol=1e-6)
        ours.decoder.model[0]._forward_hooks.clear()
    with pytest.raises(CodesError, match="noise is 'loud'"):
        ours.decoder(z, noise="loud")


@torch.no_grad()
def test_networks_called_by_hand_run_in_chunks(pair, monkeypatch):
    """The fast path is taken without being asked for; a hook takes it away and its removal gives it back."""
    ours, calls = pair[1].model, []
    run = chunked.run_checked_chunk
    monkeypatch.setattr(
        chunked,
        "run_checked_chunk",
        lambda network, *args, **options: calls.append(network) or run(network, *args, **options),
    )
    z = ours.encoder(ours.preprocess(sound_for(pair[1].values, batch=2)))
    ours.decoder(z)
    assert calls.count(ours.encoder) == calls.count(ours.decoder) == 2  # rows
    hook = ours.decoder.model[0].register_forward_hook(lambda *_: None)
    ours.decoder(z)
    assert len(calls) == 4
    hook.remove()
    ours.decoder(z)
    assert len(calls) == 6


@torch.no_grad()
def test_long_latents_in_many_chunks_are_the_whole(pair):
    """Small chunks, several threads, rows: the plain network's latents and sound."""
    ours = pair[1].model
    for length in (1, 7, 34):
        z = torch.randn(3, ours.latent_dim, length)
        torch.manual_seed(2)
        wanted = ours.decoder.model(z)
        torch.manual_seed(2)
        noise = DrawnNoise.from_global_generator(z, ours.decoder_rates)
        found = chunked.run_whole(ours.decoder, z, [*range(0, length, 3), length], noise)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
        torch.manual_seed(2)
        torch.testing.assert_close(ours.decoder(z), wanted, rtol=0, atol=1e-6)
        audio = torch.randn(2, 1, int(ours.hop_length) * length + 1) * 0.3
        wanted = ours.encoder.block(audio)
        cuts = [*range(0, audio.shape[-1], 700), audio.shape[-1]]
        torch.testing.assert_close(chunked.run_whole(ours.encoder, audio, cuts), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("change", ["hook", "forward", "layer", "decoder"])
def test_streams_of_changed_networks_are_refused(speech, change):
    """What only a call would run is not left out without a word."""
    ours = speech[1].model
    codes = codes_for(speech[1], batch=1)
    if change == "hook":
        ours.decoder.model[3].register_forward_hook(lambda *_: None)
    elif change == "forward":
        ours.decoder.forward = lambda z: z
    elif change == "layer":
        ours.decoder.model[-3] = nn.ReLU()
    else:
        ours.decoder = Louder(ours.decoder)
    with pytest.raises(NetworkError, match="need a network as the codec built it"):
        list(ours.decode_blocks(codes, noise=0))
    with torch.no_grad(), pytest.raises(NetworkError, match="use encode and decode"):
        ChunkDecoder(ours, None).push(codes, last=True)


def test_batches_of_clips_run_through_changed_networks(pair):
    """encode_batch and decode_batch agree with encode and decode."""
    ours = pair[1].model
    clips = [sound_for(pair[1].values, seconds=seconds)[0, 0] for seconds in (0.2, 0.3)]
    wanted = ours.encode_batch(clips)
    sound = ours.decode_batch(wanted, noise=1)
    ours.encoder.register_forward_hook(lambda *_: None)
    ours.decoder.register_forward_hook(lambda _, __, y: y * 2)
    found = ours.encode_batch(clips)
    assert all(
        torch.equal(a, b)
        for one, other in zip(wanted, found, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    for one, other in zip(sound, ours.decode_batch(found, noise=1), strict=True):
        torch.testing.assert_close(other, 2 * one, rtol=0, atol=1e-6)


class Decoding(nn.Module):
    """decode as a module with one argument a level."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *codes):
        """Decode."""
        return self.model.decode(list(codes))


def exported(client, module, arguments, **options):
    """Our module as a graph. Upstream's stays as it is: what its graph would give, at twice the time."""
    if client.snac is snac:
        return module
    return torch.export.export(module, arguments, **options).module()


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_decode_exports(tiny, both, strict):
    """torch.export, with lengths left open."""

    def recipe(client):
        frames = torch.export.Dim("frames", min=2, max=1024)
        codes = codes_for(client, batch=1)
        shapes = tuple({1: count * frames} for count in (1, 2, 4))
        with torch.no_grad():
            graph = exported(
                client, Decoding(client.model), tuple(codes), dynamic_shapes=(shapes,), strict=strict
            )
        torch.manual_seed(9)
        return graph(*(torch.cat((level, level), dim=1) for level in codes))

    both(recipe, tiny, grad=True)


@pytest.mark.slow
def test_everything_else_exports(tiny, both):
    """The model, encode and the decoder alone."""

    def recipe(client):
        model, audio = client.model, sound_for(client.values)
        with torch.no_grad():
            z = model.encoder(model.preprocess(audio))
            return exported(client, model.decoder, (z,))(z), exported(client, model, (audio,))(audio)

    both(recipe, tiny, grad=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_decode_is_traced(tiny, both):
    """torch.jit.trace records upstream's plain network."""

    def recipe(client):
        codes = codes_for(client, batch=1)
        traced = torch.jit.trace(Decoding(client.model), tuple(codes), check_trace=False)
        saved = io.BytesIO()
        torch.jit.save(traced, saved)
        saved.seek(0)
        torch.manual_seed(9)
        return torch.jit.load(saved)(*codes)

    both(recipe, tiny)


def test_removing_weight_norm_is_refused_aloud(speech):
    """The function of torch would leave every convolution without a weight; nothing is changed before it is told so."""
    ours = speech[1].model
    codes = codes_for(speech[1])
    wanted = ours.decode(codes, noise=1)
    conv = ours.decoder.model[0]
    assert parametrize.is_parametrized(conv, "weight")
    with pytest.raises(NetworkError, match=r"folded already.*conv\.weight"):
        parametrize.remove_parametrizations(conv, "weight")
    with pytest.raises(NetworkError, match="on top of weight norm"):
        parametrize.register_parametrization(conv, "weight", nn.Identity())
    assert torch.equal(ours.decode(codes, noise=1), wanted)


def test_types_copies_and_pickles(speech):
    """Half precision, modes, copies and state dicts, as upstream's; and pickles, which upstream has not."""
    theirs, ours = (client.model for client in speech)
    codes = codes_for(speech[0])
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        sounds = []
        for model in (copy.deepcopy(theirs).to(dtype), copy.deepcopy(ours).to(dtype)):
            torch.manual_seed(4)
            with torch.no_grad():
                sounds.append(model.decoder(model.quantizer.from_codes(codes)))
        assert sounds[0].dtype == sounds[1].dtype == dtype
        loose = {torch.float64: 1e-9, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
        torch.testing.assert_close(sounds[1], sounds[0], rtol=0, atol=loose)
    other = pickle.loads(pickle.dumps(ours))
    assert torch.equal(other.decode(codes, noise=2), ours.decode(codes, noise=2))
    theirs.load_state_dict(ours.state_dict())


@torch.no_grad()
def test_a_decoder_of_its_own_keeps_up_with_moves(speech):
    """A copied decoder in another type and back is that of the rounded weights."""
    decoder = copy.deepcopy(speech[1].model.decoder)
    z = torch.randn(1, decoder.model[0].in_channels, 9)
    before = decoder(z, noise="off")
    rounded = decoder.to(torch.bfloat16).to(torch.float32)(z, noise="off")
    fresh = copy.deepcopy(speech[1].model.decoder)
    fresh.load_state_dict(decoder.state_dict())
    assert torch.equal(rounded, fresh(z, noise="off"))
    assert not torch.equal(rounded, before)


def test_code_that_imports_snac_runs_unchanged(speech, monkeypatch):
    """With one line before it, `import snac` and its modules are ours."""
    for name in [name for name in sys.modules if name == "snac" or name.startswith("snac.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "snac", snac_tok.compat)
    names: dict[str, object] = {}
    try:
        exec(
            "import snac\nimport snac.vq\nfrom snac.layers import NoiseBlock\nfrom snac.snac import SNAC",
            names,
        )
    finally:
        for name in [name for name in sys.modules if name.startswith("snac.")]:
            del sys.modules[name]
    assert names["SNAC"] is names["snac"].SNAC is snac_tok.SNAC
    assert isinstance(speech[1].model.decoder.model[-4].block[2], names["NoiseBlock"])
