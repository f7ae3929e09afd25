"""Shards to export and a text tokenizer, each made once."""

import pytest
from export_samples import NAMES, collection, record
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Three shards, the middle one without records, five records in all, three of them with a text."""
    rows = [
        [record(name, num_frames=3 + at, seed=at) for at, name in enumerate(names, start=10 * shard)]
        for shard, names in enumerate(NAMES)
    ]
    return collection(tmp_path_factory.mktemp("shards") / "shards", rows)


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """The folder of a text tokenizer of a few words."""
    spelling = Tokenizer(
        models.WordLevel({"?": 0, "good": 1, "morning": 2, "guten": 3, "Tag": 4, "night": 5}, unk_token="?")
    )
    spelling.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("words")
    PreTrainedTokenizerFast(tokenizer_object=spelling, unk_token="?").save_pretrained(folder)
    return folder
