"""Triton compiles every kernel for a GPU that is not there: to machine code of an H100, as it is launched."""

import subprocess
import sys

import pytest

PROGRAM = """
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from snac_tok.codec.ops import kernels, launches, normal

POINTERS = set("out middle kept_out held_out x kept held first_alpha taps taps_bias second_alpha matrix".split())
POINTERS |= {"matrix_bias", "alpha", "noise", "bias"}
BLOCK = launches._block(64)
OPTIONS = {"num_warps": BLOCK.pop("num_warps"), "num_stages": BLOCK.pop("num_stages")}
PRODUCT = {"PRODUCT": tl.float16, "PRECISION": "ieee"}


def shared_bytes(kernel, **constants):
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    kinds = {"ends": "*i32"} | dict.fromkeys(POINTERS, "*fp16") | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=OPTIONS)
    assert compiled.asm["cubin"]
    return compiled.metadata.shared


constants = {"C": 64, "TAPS": 7, "BLOCK_C": 64, "HAS_KEPT": True, "HAS_ENDS": True, "APPROXIMATE": True}
constants |= {"MULTIPLIES": True} | PRODUCT | BLOCK
names = (kernels.residual_unit, kernels.extended, kernels.noise_block, kernels.last_layers)
sizes = [shared_bytes(kernel, **constants) for kernel in names]
signature = {"out": "*fp16", "seeds_and_starts": "*i64", "layer_key": "i64", "length": "i32", "BLOCK": "constexpr"}
source = ASTSource(fn=normal.normal_kernel, signature=signature, constexprs={(4,): 1024})
assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
# What a program may have on every card.
assert max(sizes) <= 48 * 1024, sizes
"""


@pytest.mark.slow
def test_every_kernel_compiles_for_a_gpu(tmp_path):
    """The interpreter takes what the compiler may not: in a process that does not interpret."""
    pytest.importorskip("triton")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": "/usr/bin:/bin"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2_000:]
