"""A decoder of another kind is trained on a frozen codec's codes."""

import pytest
import torch
from small_run import CODEC, config, told, write_sound

from snac_tok import SNAC
from snac_tok.codec import VocosDecoder
from snac_tok.errors import ConfigError
from snac_tok.training import Trainer

SHAPE = {"hops": 3, "dim": 8, "intermediate_dim": 12, "num_layers": 1, "lookahead": 1}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Prepared clips."""
    return write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A codec to start from."""
    folder = tmp_path_factory.mktemp("codec")
    torch.manual_seed(0)
    SNAC.from_config(CODEC).save_pretrained(folder)
    return str(folder)


def run_of(sound, start, **changes):
    """A run that trains a Vocos-type decoder for the codec."""
    values = {
        "codec": {},
        "start_from": start,
        "trainable": "decoder",
        "decoder": SHAPE,
        "discriminators": None,
    }
    return config(sound, **(values | changes))


def test_it_learns_and_is_loaded_beside_its_codec(sound, start, tmp_path):
    """The run leaves a decoder's folder; the codec's codes are what they were."""
    run = run_of(sound, start, steps=24, optimizer={"learning_rate": 1e-2}, validate_every=24)
    losses = [report.losses["total"] for report in Trainer(run, tmp_path / "run").run()]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert not (tmp_path / "run" / "codec").exists()
    own = SNAC.from_pretrained(start)
    codec = SNAC.from_pretrained(start, decoder=tmp_path / "run" / "decoder")
    assert isinstance(codec.decoder, VocosDecoder)
    assert codec.decoder.config.n_fft == 3 * own.hop_length
    audio = torch.randn(1, 1, 4_000) * 0.2
    assert all(map(torch.equal, codec.encode(audio), own.encode(audio)))
    assert codec.weights_sha256() == own.weights_sha256()
    assert codec.decode(codec.encode(audio)).shape == own.decode(own.encode(audio)).shape


def test_a_resumed_run_is_the_uninterrupted_one(sound, start, tmp_path):
    """To the last bit, with an adversary."""
    adversary = {"periods": [2], "fft_sizes": [64], "width": 4}
    run = run_of(sound, start, discriminators=adversary, steps=4, checkpoint_every=2, validate_every=4)
    whole = Trainer(run, tmp_path / "whole")
    for _ in whole.run():
        pass
    for report in Trainer(run, tmp_path / "cut").run():
        if report.step == 3:
            break
    torch.manual_seed(99)
    resumed = Trainer(run, tmp_path / "cut", resume=True)
    assert resumed.step == 2
    for _ in resumed.run():
        pass
    first, second = whole.codec.state_dict(), resumed.codec.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert told(tmp_path / "whole") == told(tmp_path / "cut")


def test_codes_can_be_trained_with_it(sound, start, tmp_path):
    """The run leaves the codec whose codes the decoder is for, with its own decoder as it was."""
    run = run_of(sound, start, trainable="all", steps=2)
    assert len(list(Trainer(run, tmp_path / "run").run())) == 2
    before = SNAC.from_pretrained(start)
    after = SNAC.from_pretrained(tmp_path / "run" / "codec", decoder=tmp_path / "run" / "decoder")
    assert isinstance(after.decoder, VocosDecoder)
    first, second = before.encoder.state_dict(), after.encoder.state_dict()
    assert not all(torch.equal(first[name], second[name]) for name in first)
    own = SNAC.from_pretrained(tmp_path / "run" / "codec").decoder.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in before.decoder.state_dict().items())


def test_codes_that_are_random_for_good_are_refused(sound, start, tmp_path):
    """Before a folder is made."""
    with pytest.raises(ConfigError, match="name a codec in start_from, or train all"):
        Trainer(run_of(sound, start, start_from=None, codec=CODEC), tmp_path / "run")
    assert not (tmp_path / "run").exists()


STAGES = [
    {"name": "codes", "steps": 2, "codebooks": "bypassed", "decoder": SHAPE},
    {"name": "sound", "steps": 2, "trainable": "decoder"},
    {"name": "faster", "steps": 2, "trainable": "decoder", "decoder": SHAPE},
]


def test_a_stage_can_train_codes_with_a_decoder_that_stands_in(sound, start, tmp_path):
    """The codec's own learns the codes afterwards; a run that is cut after any step is the uninterrupted one."""
    changes = {"decoder": None, "stages": STAGES, "checkpoint_every": 1, "validate_every": 2}
    run = run_of(sound, start, start_from=None, codec=CODEC, trainable="all", **(changes | {"steps": 6}))
    whole = Trainer(run, tmp_path / "whole")
    kinds = [(report.stage, type(whole.codec.decoder).__name__) for report in whole.run()]
    assert (
        kinds
        == [("codes", "VocosDecoder")] * 2 + [("sound", "Decoder")] * 2 + [("faster", "VocosDecoder")] * 2
    )
    cut = Trainer(run, tmp_path / "cut")
    for step in range(1, 6):
        next(iter(cut.run()))
        torch.manual_seed(99)
        cut = Trainer(run, tmp_path / "cut", resume=True)
        assert cut.step == step
    list(cut.run())
    assert told(tmp_path / "whole") == told(tmp_path / "cut")
    assert told(tmp_path / "whole", "validation.jsonl") == told(tmp_path / "cut", "validation.jsonl")
    for name in ("codec", "decoder"):
        first, second = (tmp_path / run / name / "model.safetensors" for run in ("whole", "cut"))
        assert first.read_bytes() == second.read_bytes()


def test_a_decoder_is_not_left_beside_codes_that_it_does_not_know(sound, start, tmp_path):
    """Where the stage after it trains the codes, it goes; where that leaves them as they are, it stays."""
    stages = [STAGES[0], {"name": "joint", "steps": 1}]
    run = run_of(sound, start, trainable="all", decoder=None, stages=stages, steps=3, checkpoint_every=2)
    there = [(tmp_path / "run" / "decoder").exists() for _ in Trainer(run, tmp_path / "run").run()]
    assert there == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"decoder": {"hops": 1}}, "n_fft must be 2 to 16 hops"),
        ({"decoder": {"kind": "vocos"}}, "decoder.*kind"),
    ],
)
def test_what_cannot_be_trained_is_refused(sound, start, changes, sentence):
    """In one sentence."""
    with pytest.raises(ConfigError, match=sentence):
        run_of(sound, start, **changes)
