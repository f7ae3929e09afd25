"""The package as a whole: what importing it costs, and what it exports."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import snac_tok

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "ray",
    "torchaudio",
    "torchcodec",
    "click",
    "pyarrow",
    "matplotlib",
)


def test_importing_loads_nothing_heavy():
    """`import snac_tok` is instant; every name loads what it needs when it is first used."""
    code = f"import sys, snac_tok; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_using_the_tokenizer_loads_no_optional_library():
    """transformers, datasets and the like stay out even when everything works, and so does torch's compiler."""
    optional = ("transformers", "datasets", "torchaudio", "torchcodec", "click", "matplotlib")
    code = (
        "import sys, snac_tok; snac_tok.SnacTokenizer.from_pretrained('tiny');"
        f"print([name for name in {(*optional, 'torch._dynamo', 'sympy')} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_every_exported_name_is_there():
    """The lazy table, __all__ and the modules agree."""
    for name in snac_tok.__all__:
        assert getattr(snac_tok, name) is not None
        assert name in dir(snac_tok)
    with pytest.raises(AttributeError, match="no attribute 'SNACK'"):
        _ = snac_tok.SNACK


def imported(path, modules):
    """Those of our modules that a file imports anywhere: at its top, in a function, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = {f"{node.module}.{alias.name}" for alias in node.names} & {*modules}
            yield from parts or {node.module} & {*modules}


@pytest.mark.parametrize("folder", ["frames", "prompts", "streaming", "tokenizer", "hf"])
def test_no_two_modules_of_a_folder_import_each_other(folder):
    """Not by way of others, and not for types alone: each folder can be read from its lowest module up."""
    paths = {
        f"snac_tok.{folder}.{path.stem}".removesuffix(".__init__"): path
        for path in Path(f"snac_tok/{folder}").glob("*.py")
    }
    assert len(paths) > 3
    TopologicalSorter({name: {*imported(path, paths)} for name, path in paths.items()}).prepare()
