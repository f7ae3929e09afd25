"""What a type checker sees of the package: names that are not there are errors, results have types."""

import pytest

api = pytest.importorskip("mypy.api")
pytestmark = pytest.mark.slow  # mypy reads the package once

# Reading torch and its kind takes mypy a minute, and only the type of tensors would come of it.
CONFIG = """
[mypy]
strict = True
follow_imports = silent
ignore_missing_imports = True
[mypy-torch.*,transformers.*,datasets.*,fastapi.*,starlette.*,gradio.*,huggingface_hub.*,safetensors.*,einops.*]
follow_imports = skip
"""

MISSPELT = {
    "snac_tok": "read_adio",
    "snac_tok.generation": "SpeechStraem",
    "snac_tok.serving": "creat_app",
    "snac_tok.demo": "creat_demo",
}
GOOD = """
import snac_tok.generation, snac_tok.serving, snac_tok.demo
from snac_tok import SNAC, SnacTokenizer, read_audio
from snac_tok.generation import SpeechStream
from snac_tok.serving import create_app
from snac_tok.demo import create_demo

tok = SnacTokenizer.from_pretrained("tiny")
reveal_type(tok.encode("a.wav"))
reveal_type(tok.encode("a.wav", return_tensors="np"))
reveal_type(tok.batch_decode([[1]]))
tok.encode("a.wav", return_tensors="pt").to("cpu")
tok.encode("a.wav", return_tensors="tf")
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What mypy says of a program with misspelt names."""
    folder = tmp_path_factory.mktemp("typing")
    misspelt = "\n".join(f"from {module} import {name}" for module, name in MISSPELT.items())
    (folder / "program.py").write_text(GOOD + misspelt + "\n")
    (folder / "mypy.ini").write_text(CONFIG)
    options = [f"--config-file={folder / 'mypy.ini'}", f"--cache-dir={folder / 'cache'}"]
    text, errors, _ = api.run([*options, str(folder / "program.py")])
    assert not errors
    return text


def test_misspelt_names_are_errors(report):
    """They were taken for names that are loaded when they are first used."""
    for module, name in MISSPELT.items():
        assert f'Module "{module}" has no attribute "{name}"' in report
    assert 'No overload variant of "encode"' in report
    assert report.count(": error: ") == len(MISSPELT) + 1, report


def test_encode_has_the_type_that_was_asked_for(report):
    """It was Any, whatever `return_tensors` said."""
    found = [line.partition("Revealed type is ")[2] for line in report.splitlines() if "Revealed" in line]
    assert [kind.strip('"').removeprefix("builtins.").partition("[")[0] for kind in found] == [
        "list",
        "numpy.ndarray",
        "list",
    ]
