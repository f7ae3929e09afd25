"""Configs of runs: read from files, checked, written back; schedules."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import yaml

from snac_tok.errors import ConfigError, MissingDependencyError
from snac_tok.plain_values import differences
from snac_tok.training import (
    DataConfig,
    OptimizerConfig,
    Source,
    StageConfig,
    TrainingConfig,
)
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.config import CHANGEABLE
from snac_tok.training.discriminators import DiscriminatorConfig
from snac_tok.training.losses import LossWeights

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
    """Of either kind; 3e-4, which is text to other readers of YAML, is the number that was meant."""
    path = tmp_path / f"run{suffix}"
    dump = json.dumps if suffix.lower() == ".json" else yaml.safe_dump
    path.write_text(dump(FULL), encoding="utf-8")
    assert TrainingConfig.from_file(path) == TrainingConfig.from_dict(FULL)
    if suffix == ".yaml":
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
        (
            {"data": LEAST["data"] | {"crop_samples": 0}},
            "data: crop_samples is 0; it must be at least 1 and at most 16,777,216.",
        ),
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
        ("run.yaml", b"steps: 2020-13-45\n", "the config lacks ['data']"),
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
    """Missing ones and folders; whoever has YAML but no reader of it hears both ways out."""
    with pytest.raises(ConfigError, match=r"training config .*no\.yaml cannot be read: No such file"):
        TrainingConfig.from_file(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        TrainingConfig.from_file(tmp_path)


def test_yaml_needs_a_package_and_json_does_not(tmp_path, monkeypatch):
    """The sentence has both ways out."""
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    for name in ("run.yaml", "run.json"):
        (tmp_path / name).write_text(json.dumps(LEAST), encoding="utf-8")
    with pytest.raises(MissingDependencyError, match=r"run\.yaml needs ruamel\.yaml: pip .* as JSON"):
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


SOUND = DataConfig(train=(Source(folder="a"),))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: TrainingConfig(data=SOUND, batch_size="4"),
            "batch_size is '4'; a value of type int is needed.",
        ),
        (lambda: TrainingConfig(data=SOUND, steps=2.5), "steps is 2.5; a value of type int is needed."),
        (lambda: TrainingConfig(data=SOUND, compile=1), "compile is 1; a value of type bool is needed."),
        (lambda: TrainingConfig(data=SOUND, ema_decay=True), "ema_decay is True; a value of type float is"),
        (
            lambda: TrainingConfig(data=SOUND, workers="2"),
            "workers is '2'; a value of type int or None is needed.",
        ),
        (
            lambda: TrainingConfig(data=SOUND, losses={"mel": 1}),
            "losses is {'mel': 1}; a value of type LossWeights",
        ),
        (
            lambda: TrainingConfig(data={"train": []}),
            "data is {'train': []}; a value of type DataConfig is needed.",
        ),
        (
            lambda: TrainingConfig(data=SOUND, mel_sizes=["64"]),
            "mel_sizes is ['64']; a value of type tuple of int",
        ),
        (
            lambda: TrainingConfig(data=SOUND, stages=[{"name": "a"}]),
            "stages is [{'name': 'a'}]; a value of type tuple",
        ),
        (lambda: DataConfig(train=["x"]), "train is ['x']; a value of type tuple of Source is needed."),
        (lambda: DataConfig(train="x"), "train is 'x'; a value of type tuple of Source is needed."),
        (lambda: Source(folder=None), "folder is None; a value of type str is needed."),
        (lambda: StageConfig(name="a", steps="3"), "steps is '3'; a value of type int is needed."),
        (lambda: LossWeights(mel="1"), "mel is '1'; a value of type float is needed."),
        (lambda: OptimizerConfig(betas=(0.9,)), "betas is (0.9,); a value of type tuple of float is needed."),
        (lambda: DiscriminatorConfig(periods=2), "periods is 2; a value of type tuple of int is needed."),
        (lambda: Augmentation(speed=1.1), "speed is 1.1; a value of type tuple of float or None is needed."),
    ],
)
def test_wrong_types_in_python(make, sentence):
    """The setting, what was given, what is needed; no error of Python's own, and none later."""
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value).startswith(sentence)


def test_lists_and_whole_numbers_are_taken():
    """As before: for tuples and for floats."""
    made = TrainingConfig(data=DataConfig(train=[Source(folder="a", weight=2)]), mel_sizes=[64], ema_decay=0)
    assert TrainingConfig.from_dict(made.to_dict()).mel_sizes == (64,)


def read(tmp_path, text):
    """Read YAML as the config of a run."""
    (tmp_path / "run.yaml").write_text("data: {train: [{folder: a}]}\n" + text, encoding="utf-8")
    return TrainingConfig.from_file(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("steps: 3\nsteps: 4\n", 3, "steps"),
        ("losses: {mel: 1, mel: 2}\n", 2, "mel"),
        ("stages:\n  - name: a\n    steps: 1\n    name: b\n", 5, "name"),
    ],
)
def test_keys_twice_in_yaml(tmp_path, text, line, key):
    """As in JSON; the last one used to count, without a word."""
    with pytest.raises(
        ConfigError, match=rf"run\.yaml is not valid YAML: line {line} has the key .{key}. a second"
    ):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "setting", "value"),
    [
        ("steps: 010\n", "steps", 10),
        ("steps: 1_000\n", "steps", 1000),
        ("steps: 0x10\n", "steps", 16),
        ("steps: 0o10\n", "steps", 8),
        ("ema_decay: 1e-1\n", "ema_decay", 0.1),
        ("ema_decay: .5\n", "ema_decay", 0.5),
        ("ema_decay: 0\n", "ema_decay", 0.0),
        ("workers: ~\n", "workers", None),
        ("compile: true\n", "compile", True),
        ("start_from: on\n", "start_from", "on"),
        ("start_from: 2020-01-01\n", "start_from", "2020-01-01"),
        ("start_from: 1:30\n", "start_from", "1:30"),
        ("start_from: 'no'\n", "start_from", "no"),
    ],
)
def test_yaml_is_read_as_it_is_meant(tmp_path, text, setting, value):
    """A number is decimal, and a word a word."""
    found = getattr(read(tmp_path, text), setting)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("steps: yes\n", "steps is 'yes'; a value of type int"),
        ("steps: 1:30\n", "steps is '1:30'; a value of type int"),
        ("compile: yes\n", "compile is 'yes'; a value of type bool"),
        ("compile: Off\n", "compile is 'Off'; a value of type bool"),
        ("precision: on\n", "precision is 'on'; it must be one of"),
        ("losses: {adversarial: on}\n", "losses.adversarial is 'on'; a value of type float"),
    ],
)
def test_yaml_that_is_no_value_of_the_setting(tmp_path, text, sentence):
    """It is quoted as it was written."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'run.yaml'}: {sentence}")


def test_yaml_merges_still(tmp_path):
    """What a mapping names itself goes before what it merges in, and is not named twice by that."""
    stages = "stages:\n  - &one {name: a, steps: 1, batch_size: 3}\n  - {<<: *one, name: b}\n"
    assert [(stage.name, stage.batch_size) for stage in read(tmp_path, stages).stages] == [("a", 3), ("b", 3)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "stages:\n  - &s {name: a, steps: 1}\n  - &t {name: b, steps: 1}\n  - <<: *s\n    <<: *t\n",
            'line 6 has the key "<<" a second time; write `<<: [*s, *t]` for two merges.',
        ),
        ("steps: !!bool x\n", "a value in it is not of the kind that is written in front of it with !!."),
        ("steps: !!int ''\n", "a value in it is not of the kind that is written in front of it with !!."),
        (
            "ema_decay: !!float ''\n",
            "a value in it is not of the kind that is written in front of it with !!.",
        ),
    ],
)
def test_yaml_that_its_reader_stumbles_over(tmp_path, text, sentence):
    """Its own errors, and Python's that it lets through, are one sentence each."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    assert str(refused.value) == f"the training config {tmp_path / 'run.yaml'} is not valid YAML: {sentence}"


def test_another_version_of_yaml(tmp_path):
    """It is told, and which there are."""
    (tmp_path / "run.yaml").write_text("%YAML 1.3\n---\nsteps: 3\n")
    with pytest.raises(ConfigError, match=r"not valid YAML: its %YAML line names a version that is neither"):
        TrainingConfig.from_file(tmp_path / "run.yaml")


@pytest.mark.parametrize("word", ["yes", "Off", "'true'"])
def test_switches_are_true_or_false(tmp_path, word):
    """What version 1.1 of YAML took for one says what to write."""
    with pytest.raises(ConfigError, match=r"a value of type bool is needed: write true or false\.$"):
        read(tmp_path, f"compile: {word}\n")
