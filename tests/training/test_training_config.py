"""Configs of runs: read from files, checked, written back; schedules."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import yaml

from snac_tok.errors import ConfigError, MissingDependencyError
from snac_tok.plain_values import differences
from snac_tok.training import OptimizerConfig, TrainingConfig
from snac_tok.training.config import CHANGEABLE

LEAST = {"data": {"train": [{"folder": "ready"}]}}
# One value of each kind that differs from its default.
FULL = LEAST | {
    "data": {
        "train": [{"folder": "a", "weight": 2.5}, {"folder": "b"}],
        "validation": "held out",
        "crop_samples": 2048,
        "augmentation": {"level_db": None, "speed": [0.9, 1.1], "tilt_db": 3.0},
    },
    "codec": {"sampling_rate": 16_000, "attn_window_size": None, "vq_strides": [4, 2, 1]},
    "start_from": "tiny",
    "trainable": "decoder",
    "losses": {"mel": 1.0},
    "discriminators": {"periods": [2, 3], "fft_sizes": [], "width": 4},
    "quantizer": {"level_dropout": 0.25},
    "optimizer": {"learning_rate": 3e-4, "betas": [0.5, 0.9]},
    "mel_sizes": [64, 256],
    "compile": True,
    "precision": "bf16",
}


def refusal(changes, *, least=LEAST):
    """Return the sentence with which a config is refused."""
    with pytest.raises(ConfigError) as refused:
        TrainingConfig.from_dict({**least, **changes})
    return str(refused.value)


@pytest.mark.parametrize("values", [LEAST, FULL], ids=["least", "full"])
def test_plain_values_and_back(values):
    """Through to_dict, JSON and YAML a config stays the same one."""
    config = TrainingConfig.from_dict(values)
    plain = config.to_dict()
    assert TrainingConfig.from_dict(plain) == config
    assert TrainingConfig.from_dict(json.loads(json.dumps(plain))) == config
    assert TrainingConfig.from_dict(yaml.safe_load(yaml.safe_dump(plain))) == config
    assert differences(plain, json.loads(json.dumps(plain))) == []


def test_what_is_read():
    """Lists become tuples, mappings dataclasses, whole numbers floats where one is wanted; None is a value."""
    config = TrainingConfig.from_dict(FULL | {"discriminators": None, "losses": {"mel": 1}})
    assert [source.weight for source in config.data.train] == [2.5, 1.0]
    assert config.data.augmentation.level_db is None
    assert config.data.augmentation.speed == (0.9, 1.1)
    assert config.optimizer.betas == (0.5, 0.9)
    assert config.codec.vq_strides == (4, 2, 1)
    assert config.discriminators is None
    assert isinstance(config.losses.mel, float)
    assert TrainingConfig.from_dict(LEAST).discriminator_optimizer.clip_norm == 10.0


@pytest.mark.parametrize("suffix", [".json", ".JSON", ".yaml", ".yml"])
def test_files(tmp_path, suffix):
    """Of either kind; YAML's 3e-4, which is text to it, is the number that was meant."""
    path = tmp_path / f"run{suffix}"
    dump = json.dumps if suffix.lower() == ".json" else yaml.safe_dump
    path.write_text(dump(FULL), encoding="utf-8")
    assert TrainingConfig.from_file(path) == TrainingConfig.from_dict(FULL)
    if suffix == ".yaml":
        assert yaml.safe_load("3e-4") == "3e-4"
        path.write_text(
            "data: {train: [{folder: ready}]}\noptimizer: {learning_rate: 3e-4, weight_decay: 0}\n",
            encoding="utf-8",
        )
        config = TrainingConfig.from_file(str(path))
        assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (3e-4, 0.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step": 5}, "the config has an unknown entry 'step'; known are ['accumulate', "),
        ({"losses": {"mell": 1}}, "losses has an unknown entry 'mell'; known are ['adversarial', "),
        ({"xyzzy": 1}, "the config has an unknown entry 'xyzzy'; known are ["),
        ({7: 1}, "the config has an unknown entry 7; known are ["),
        (
            {"data": {"train": [{"folder": "a"}, {"foldr": "b"}]}},
            "data.train[1] has an unknown entry 'foldr'; known are ['folder', 'weight']. Did you mean 'folder'?",
        ),
    ],
)
def test_unknown_names(changes, sentence):
    """The path, what was probably meant, what there is."""
    assert refusal(changes).startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": "many"}, "steps is 'many'; a value of type int is needed."),
        ({"steps": 5.0}, "steps is 5.0; a value of type int is needed."),
        ({"steps": True}, "steps is True; a value of type int is needed."),
        ({"compile": 1}, "compile is 1; a value of type bool is needed."),
        ({"ema_decay": True}, "ema_decay is True; a value of type float is needed."),
        ({"ema_decay": "most"}, "ema_decay is 'most'; a value of type float is needed."),
        ({"ema_decay": None}, "ema_decay is None; a value of type float is needed."),
        ({"start_from": 3}, "start_from is 3; a value of type str is needed."),
        ({"losses": 3}, "losses is 3; a mapping of ['adversarial', "),
        ({"losses": None}, "losses is empty; a mapping of ["),
        ({"mel_sizes": 64}, "mel_sizes is 64; a list is needed."),
        ({"mel_sizes": ["64"]}, "mel_sizes[0] is '64'; a value of type int is needed."),
        ({"mel_sizes": [64, 65]}, "mel_sizes has [65]; there are [32, 64, "),
        ({"precision": "fp16"}, "precision is 'fp16'; it must be one of ['fp32', 'bf16']."),
        ({"trainable": ["all"]}, "trainable is ['all']; it must be one of ['all', 'decoder']."),
        ({"optimizer": {"betas": [0.9]}}, "optimizer.betas has 1 entries; 2 are needed."),
        ({"optimizer": {"betas": [0.9, "x"]}}, "optimizer.betas[1] is 'x'; a value of type float"),
        ({"data": {"train": "ready"}}, "data.train is 'ready'; a list is needed."),
        ({"data": {"train": ["ready"]}}, "data.train[0] is 'ready'; a mapping of ['folder', 'weight']"),
        ({"codec": {"vq_strides": "4"}}, "codec.vq_strides is '4'; a list is needed."),
        ({"codec": {"codebook_size": 1}}, "codec: codebook_size is 1; it must be a whole number from 2"),
        ({"discriminators": {"width": 0}}, "discriminators: width is 0"),
    ],
)
def test_wrong_types(changes, sentence):
    """The path, what was found, what is needed."""
    assert refusal(changes).startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1."),
        ({"batch_size": -1}, "batch_size is -1; it must be at least 1."),
        ({"keep_checkpoints": 0}, "keep_checkpoints is 0; it must be at least 1."),
        ({"sound_clips": -1}, "sound_clips is -1; it must be at least 0."),
        ({"adversarial_from_step": -1}, "adversarial_from_step is -1; it must be at least 0."),
        ({"ema_decay": 1.5}, "ema_decay is 1.5; it must be at least 0 and at most 1."),
        ({"ema_decay": "nan"}, "ema_decay is nan; it must be at least 0 and at most 1."),
        ({"optimizer": {"learning_rate": 0}}, "optimizer: learning_rate is 0.0; it must be above 0."),
        ({"optimizer": {"learning_rate": ".inf"}}, "optimizer.learning_rate is '.inf'; a value of type"),
        (
            {"optimizer": {"learning_rate": float("inf")}},
            "optimizer: learning_rate is inf; it must be above 0.",
        ),
        (
            {"optimizer": {"betas": [0.9, 1.0]}},
            "optimizer: each of betas is 1.0; it must be at least 0 and below 1.",
        ),
        ({"optimizer": {"decay_per_step": 0.0}}, "optimizer: decay_per_step is 0.0; it must be above 0"),
        ({"quantizer": {"level_dropout": 1.1}}, "quantizer: level_dropout is 1.1; it must be at least 0"),
        ({"quantizer": {"restart_every": 0}}, "quantizer: restart_every is 0; it must be at least 1."),
        ({"losses": {"mel": -1}}, "losses: the weight mel is -1.0; it must be a finite number"),
        ({"losses": {"mel": float("nan")}}, "losses: the weight mel is nan; it must be a finite number"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"seed": 2**64}, "seed is 18446744073709551616; it must be at least 0 and at most "),
        ({"data": {"train": []}}, "data: data.train names no folder; prepare one"),
        ({"data": LEAST["data"] | {"crop_samples": 0}}, "data: crop_samples is 0; it must be at least 1."),
        (
            {"data": LEAST["data"] | {"silence_db": float("nan")}},
            "data: silence_db is nan; it must be at least -200 and at most 0.",
        ),
        (
            {"data": {"train": [{"folder": "a", "weight": 0}]}},
            "data.train[0]: weight is 0.0; it must be above 0.",
        ),
    ],
)
def test_bounds(changes, sentence):
    """Every number has them, and what is no number is beyond them."""
    assert refusal(changes).startswith(sentence)


def test_data_are_all_that_must_be_given():
    """What is missing is named by its path."""
    assert refusal({}, least={}) == "the config lacks ['data']."
    assert refusal({"data": {}}) == "data lacks ['train']."
    assert refusal({"data": {"train": [{"weight": 1}]}}) == "data.train[0] lacks ['folder']."


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("run.yaml", b"", "the config is empty; a mapping of ["),
        ("run.yaml", b"# nothing yet\n", "the config is empty; a mapping of ["),
        ("run.yaml", b"- data\n- steps\n", "the config is ['data', 'steps']; a mapping of ["),
        ("run.yaml", b"steps\n", "the config is 'steps'; a mapping of ["),
        ("run.yaml", b"data: [\n", "is not valid YAML: while parsing a flow node"),
        (
            "run.yaml",
            b"steps: !!python/object/apply:os.getcwd []\n",
            "is not valid YAML: could not determine",
        ),
        ("run.yaml", b"steps: 2020-13-45\n", "is not valid YAML: month must be in 1..12"),
        ("run.yaml", b"\xff\xfe\x00\x01", "is not UTF-8 text"),
        ("run.yaml", b"[" * 100_000, "is not valid "),
        ("run.json", b"", "is not valid JSON: Expecting value"),
        ("run.json", b"[]", "the config is []; a mapping of ["),
        ("run.json", b"null", "the config is empty; a mapping of ["),
        ("run.json", b"{'data': 1}", "is not valid JSON: Expecting property name"),
        ("run.json", b"[" * 100_000, "is not valid "),
        ("run.json", b'{"steps": 1}', "the config lacks ['data']."),
    ],
)
def test_files_that_are_none(tmp_path, name, content, sentence):
    """One sentence that names the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        TrainingConfig.from_file(path)
    named = (
        f"the training config {path} {sentence}" if sentence.startswith("is not") else f"{path}: {sentence}"
    )
    assert str(refused.value).startswith(named)
    assert "\n" not in str(refused.value)


def test_files_that_cannot_be_read(tmp_path):
    """Missing ones and folders; whoever has YAML but no PyYAML hears both ways out."""
    with pytest.raises(ConfigError, match=r"training config .*no\.yaml cannot be read: No such file"):
        TrainingConfig.from_file(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        TrainingConfig.from_file(tmp_path)


def test_yaml_needs_pyyaml_and_json_does_not(tmp_path, monkeypatch):
    """The sentence has both ways out."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    for name in ("run.yaml", "run.json"):
        (tmp_path / name).write_text(json.dumps(LEAST), encoding="utf-8")
    with pytest.raises(MissingDependencyError, match=r"run\.yaml needs PyYAML: pip .* as JSON"):
        TrainingConfig.from_file(tmp_path / "run.yaml")
    assert TrainingConfig.from_file(tmp_path / "run.json") == TrainingConfig.from_dict(LEAST)


def test_what_may_change_in_a_continued_run_exists():
    """A renamed setting would silently become decisive."""
    assert set(CHANGEABLE) <= {field.name for field in dataclasses.fields(TrainingConfig)}


def test_differences_are_paths():
    """Also where one side has None instead of a mapping."""
    first = TrainingConfig.from_dict(FULL).to_dict()
    changes = {"steps": 3, "losses": {"mel": 2.0, "waveform": 1.0}, "discriminators": None}
    second = TrainingConfig.from_dict(FULL | changes).to_dict()
    assert differences(first, second) == ["discriminators", "losses.mel", "losses.waveform", "steps"]


def test_the_rate_warms_up_decays_and_cools_down():
    """By hand: half of it each step, risen over four steps, fallen over the last two."""
    config = OptimizerConfig(learning_rate=16.0, decay_per_step=0.5, warmup_steps=4, cooldown_steps=2)
    rates = [config.rate_at(step, steps=8) for step in range(8)]
    # 16 · ½^step, times (1, 2, 3, 4)/4 at first, times (2, 1)/2 at last.
    assert rates == [4.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.25, 0.0625]
    assert config.rate_at(6, steps=100) == 0.25


def test_a_rate_without_schedule_decays_alone():
    """The default does not depend on the run's length; a schedule longer than the run stays above zero."""
    config = OptimizerConfig()
    assert config.rate_at(0, steps=1) == config.rate_at(0, steps=800_000) == 6e-4
    assert config.rate_at(100_000, steps=800_000) == pytest.approx(6e-4 * 0.5488, rel=1e-3)
    long = OptimizerConfig(learning_rate=1.0, decay_per_step=1.0, cooldown_steps=10)
    assert [long.rate_at(step, steps=2) for step in range(2)] == [0.2, 0.1]


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": {"mel": 0.0, "adversarial": 0.0, "feature_matching": 0.0}},
        {"losses": {"mel": 0.0}, "discriminators": None},
        {"losses": {"mel": 0.0}, "adversarial_from_step": 1},
    ],
)
def test_something_judges_the_sound(changes):
    """A decoder that nothing is asked of cannot learn; torch would say so less clearly, and late."""
    assert refusal(changes).startswith("losses has no weight above 0 for what the decoder makes")
    assert TrainingConfig.from_dict(LEAST | changes | {"losses": changes["losses"] | {"waveform": 0.1}})
    assert TrainingConfig.from_dict(LEAST | {"losses": {"mel": 0.0}}).discriminators


def test_a_tree_in_the_place_of_a_number_is_quoted_in_part():
    """One sentence, however much stands there."""
    stages = [{"name": f"stage {number}", "steps": 1} for number in range(100)]
    with pytest.raises(
        ConfigError, match=r"steps is \[\{'name': 'stage 0'.*\.\.\.\]; a value of type int"
    ) as refused:
        TrainingConfig.from_dict({"data": {"train": [{"folder": "a"}]}, "steps": stages})
    assert len(str(refused.value)) < 300
