"""Law 9: codes and sound depend on weights and sound alone, however precise torch is told to be."""

import contextlib
import threading
import time

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from snac_tok import SNAC
from snac_tok.codec import chunked, inference
from snac_tok.codec.incremental import ChunkDecoder, ChunkEncoder
from snac_tok.codec.network import Decoder, Encoder
from snac_tok.codec.noise import SeededNoise
from snac_tok.codec.ops import convolution
from snac_tok.codec.precision import captured_undisturbed, full_precision, in_full_precision
from snac_tok.codec.quantizer import ResidualQuantizer
from snac_tok.codec.state import StreamState
from snac_tok.codec.switches import HELD
from snac_tok.codec.tracing import is_traced
from snac_tok.errors import SnacTokError

LOW = ("tf32", "bf16")
HERE = torch.zeros(())
OPERATIONS = ("matmul", "conv", "rnn")
# Every setting of its own, and what it can be; "none" takes that of the backend, or of all backends.
CHOICES = {("generic", "all"): ("none", "ieee", "tf32", "bf16")}
CHOICES |= {("mkldnn", name): ("none", "ieee", "tf32", "bf16") for name in ("all", *OPERATIONS)}
CHOICES |= {("cuda", name): ("none", "ieee", "tf32") for name in ("all", *OPERATIONS)}
get, put = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter


@pytest.fixture(autouse=True)
def as_torch_begins():
    """Leave the settings as torch begins with them."""
    yield
    torch.set_float32_matmul_precision("highest")
    for place in CHOICES:
        put(*place, "none")
    torch.backends.cudnn.allow_tf32 = True
    set_half(AS_BEGUN)


class Gpu:
    """Stands for a tensor on a GPU."""

    def __init__(self, dtype):
        self.device, self.dtype = torch.device("cuda"), dtype


C = torch._C
# What torch says of half precision on GPUs, and how it is told.
HALF = {
    "cublas_allow_fp16_reduced_precision_reduction": [(True, True), (False, True), (False, False)],
    "cublas_allow_bf16_reduced_precision_reduction": [(True, True), (False, True), (False, False)],
    "cublas_allow_fp16_accumulation": [False, True],
    "math_sdp_allow_fp16_bf16_reduction": [False, True],
}
AS_BEGUN = {name: values[0] for name, values in HALF.items()}
PINNED = {torch.float32: [], torch.float16: [0, 2, 3], torch.bfloat16: [1, 3]}


def half():
    """What half precision is set to."""
    return {name: getattr(C, f"_get_{name}")() for name in HALF}


def set_half(values):
    """Set half precision."""
    for name, value in values.items():
        getattr(C, f"_set_{name}")(*value if isinstance(value, tuple) else (value,))


def set_all(values):
    """Set every setting."""
    for place, value in values.items():
        put(*place, value)


def seen(values):
    """What torch says of every setting, and would say if those that others take theirs from were changed."""
    found = []
    for changed in (("generic", "all"), ("mkldnn", "all"), ("cuda", "all")):
        for value in CHOICES[changed]:
            put(*changed, value)
            found.append({place: get(*place) for place in CHOICES})
        put(*changed, values[changed])
    return found


def audio_of(codec, frames=3):
    """Random audio (1, 1, T)."""
    shape, generator = (1, 1, frames * codec.config.frame_length), torch.Generator("cpu").manual_seed(0)
    return 0.3 * torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def outputs(codec):
    """Codes and sound of a codec that has derived nothing from its weights yet, one way after the other."""
    audio = audio_of(codec)
    codes = codec.unfold_weight_norm().encode(audio)
    stream = ChunkDecoder(codec.fold_weight_norm(), None)
    with torch.no_grad():
        streamed = [stream.push(codes), stream.rest()]
    blocks = [level for piece in codec.encode_blocks(audio.split(100, dim=-1)) for level in piece]
    batch = [level for clip in codec.encode_batch([audio[0], audio[0, :, :50]]) for level in clip]
    return [*codes, *streamed, *blocks, *batch, codec.decode(codes, noise=3), codec(audio, noise=3)[0]]


def equal(one, other):
    """Whether all tensors are equal to the last bit, in the same dtype."""
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def precisions_inside(monkeypatch):
    """Collect the precisions that networks and quantizers run in."""
    inside = set()
    places = (
        (Encoder, "step"),
        (Decoder, "step"),
        (ResidualQuantizer, "forward"),
        (ResidualQuantizer, "from_codes"),
    )
    for place, name in places:
        run = getattr(place, name)

        def watched(*args, run=run, **options):
            inside.update(get("mkldnn", operation) for operation in ("matmul", "conv"))
            return run(*args, **options)

        monkeypatch.setattr(place, name, watched)
    return inside


@pytest.fixture
def wanted(small_codec):
    """What the codec gives where nothing was set."""
    return outputs(small_codec)


@pytest.mark.law(9)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_setting_of_precision_changes_a_bit_or_is_changed(small_codec, wanted, precisions_inside, data):
    """Old settings, new ones and mixtures; afterwards each is what it was and takes what it took from others."""
    torch.set_float32_matmul_precision("highest")
    if legacy := data.draw(st.sampled_from([None, "medium", "high"])):
        torch.set_float32_matmul_precision(legacy)
    values = {
        place: data.draw(st.sampled_from(choices), label=str(place)) for place, choices in CHOICES.items()
    }
    set_all(values)
    before = seen(values)
    assert equal(outputs(small_codec), wanted)
    assert precisions_inside.isdisjoint(LOW)
    assert seen(values) == before


@pytest.mark.parametrize("legacy", ["medium", "high"])
def test_the_older_settings_change_nothing_and_can_be_asked_for_afterwards(
    small_codec, wanted, precisions_inside, legacy
):
    """As most programs set them."""
    torch.set_float32_matmul_precision(legacy)
    torch.backends.cudnn.allow_tf32 = False
    assert equal(outputs(small_codec), wanted)
    assert precisions_inside.isdisjoint(LOW)
    assert torch.get_float32_matmul_precision() == legacy
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is True


def test_a_codec_that_is_trained_gives_the_same_codes(small_codec):
    """Training mode follows the program's precision, but for codes, which have no gradient."""
    audio = audio_of(small_codec)
    wanted = small_codec.encode(audio)
    torch.set_float32_matmul_precision("medium")
    with torch.autocast("cpu", torch.bfloat16):
        assert equal(small_codec.train().encode(audio), wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_bit(small_codec, wanted, dtype):
    """Not even the dtype of the sound; the caller's own operations are cast as before."""
    with torch.autocast("cpu", dtype):
        assert equal(outputs(small_codec), wanted)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@contextlib.contextmanager
def set_for_a_while(ask, tell, value):
    """Change something that torch keeps for the whole process."""
    before = ask()
    tell(value)
    try:
        yield
    finally:
        tell(before)


@pytest.mark.parametrize(
    "change",
    [
        lambda: set_for_a_while(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
        lambda: set_for_a_while(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
        lambda: set_for_a_while(
            torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
        ),
        lambda: torch.backends.mkldnn.flags(enabled=True, deterministic=True, allow_tf32=None),
        lambda: torch.device("meta"),
        torch.inference_mode,
        lambda: set_for_a_while(torch.get_num_threads, torch.set_num_threads, 3),
    ],
    ids=["float64", "bfloat16", "deterministic", "deterministic oneDNN", "meta", "inference", "threads"],
)
def test_nothing_else_that_torch_is_told_changes_a_bit(small_codec, wanted, change):
    """Default dtypes and devices, deterministic algorithms, inference mode, threads."""
    with change():
        assert equal(outputs(small_codec), wanted)


@pytest.mark.law(9)
def test_several_threads_may_come_and_go(small_codec):
    """Each gets exact codes, and the last one to leave sets everything back."""
    audio = audio_of(small_codec)
    wanted = small_codec.encode(audio)
    torch.set_float32_matmul_precision("medium")
    wrong, end = [], time.monotonic() + 1.0

    def work():
        while time.monotonic() < end:
            if not equal(small_codec.encode(audio), wanted):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert torch.get_float32_matmul_precision() == "medium"
    assert get("mkldnn", "matmul") == "bf16"


def test_whoever_leaves_first_lowers_nothing_for_those_inside():
    """Nested or side by side: the setting is back only when nobody is inside."""
    torch.set_float32_matmul_precision("medium")
    first, second = (full_precision(HERE) for _ in range(2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert get("mkldnn", "matmul") == "ieee"
    second.__exit__(None, None, None)
    assert get("mkldnn", "matmul") == "bf16"


def test_what_a_program_sets_while_somebody_is_inside_stays_set():
    """The newest wish counts afterwards, and whoever enters next is exact all the same."""
    torch.set_float32_matmul_precision("medium")
    with full_precision(HERE):
        torch.backends.mkldnn.matmul.fp32_precision = "tf32"
        with full_precision(HERE):
            assert get("mkldnn", "matmul") == "ieee"
    assert get("mkldnn", "matmul") == "tf32"


def test_an_error_inside_sets_everything_back():
    """As a with statement does."""
    torch.backends.fp32_precision = "tf32"
    with contextlib.suppress(ZeroDivisionError), full_precision(HERE):
        assert get("mkldnn", "conv") == "ieee"
        1 / 0  # noqa: B018 - it is to fail
    assert get("mkldnn", "conv") == "tf32"
    torch.backends.fp32_precision = "bf16"
    assert get("mkldnn", "conv") == "bf16"


def test_where_nothing_is_low_nothing_is_set(monkeypatch, small_codec):
    """As torch begins, a program that trains beside the codec cannot notice it, on a CPU or a GPU."""
    monkeypatch.setattr(HELD, "_hold", lambda _: pytest.fail("a setting was changed"))
    outputs(small_codec)
    with full_precision(Gpu(torch.float32)):
        pass


def older():
    """What torch's older getters say; None where they raise."""
    found = []
    for ask in (torch.get_float32_matmul_precision, C._get_cublas_allow_tf32, C._get_cudnn_allow_tf32):
        try:
            found.append(ask())
        except RuntimeError:
            found.append(None)
    return found


def set_as_programs_do(data):
    """The older settings, the newer ones and mixtures of both, in any order."""
    ways = {
        "legacy": lambda: torch.set_float32_matmul_precision(
            data.draw(st.sampled_from(["highest", "high", "medium"]))
        ),
        "allow": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", data.draw(st.booleans())),
        "cudnn": lambda: setattr(torch.backends.cudnn, "allow_tf32", data.draw(st.booleans())),
        "new": lambda: put(
            *(place := data.draw(st.sampled_from(list(CHOICES)))), data.draw(st.sampled_from(CHOICES[place]))
        ),
    }
    for way in data.draw(st.lists(st.sampled_from(list(ways)), max_size=4)):
        ways[way]()


@pytest.mark.law(9)
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_older_getters_raise_inside_or_afterwards_only_where_they_did_before(data):
    """For everybody in the process, while pieces on a GPU and a CPU come and go in any order."""
    torch.set_float32_matmul_precision("highest")
    for place in CHOICES:
        put(*place, "none")
    torch.backends.cudnn.allow_tf32 = True
    set_as_programs_do(data)
    set_half({name: data.draw(st.sampled_from(values)) for name, values in HALF.items()})
    before, told, of_half = {place: get(*place) for place in CHOICES}, older(), half()
    pieces = data.draw(st.lists(st.sampled_from([HERE, *map(Gpu, PINNED)]), min_size=1, max_size=3))
    inside = [(piece, contextlib.ExitStack()) for piece in pieces]
    with contextlib.ExitStack() as all_of_them:
        for piece, each in inside:
            all_of_them.enter_context(each)
            each.enter_context(full_precision(piece))
        while inside:
            now = older()
            assert all(there is not None for there, then in zip(now, told, strict=True) if then is not None)
            for piece, _ in inside:
                names = [list(HALF)[at] for at in PINNED[piece.dtype]] if piece is not HERE else []
                assert {name: half()[name] for name in names} == {name: AS_BEGUN[name] for name in names}
                backend = "mkldnn" if piece is HERE else "cuda"
                assert piece.dtype is not torch.float32 or get(backend, "matmul") not in LOW
            inside.pop(data.draw(st.integers(0, len(inside) - 1)))[1].close()
    assert {place: get(*place) for place in CHOICES} == before
    assert (older(), half()) == (told, of_half)


@pytest.mark.law(9)
@pytest.mark.parametrize("legacy", ["high", "medium"])
def test_older_getters_work_beside_several_threads(legacy):
    """Threads on a GPU and a CPU come and go; others ask meanwhile."""
    torch.set_float32_matmul_precision(legacy)
    set_half(dict.fromkeys(HALF, False) | dict.fromkeys(list(HALF)[:2], (False, True)))
    before, end, wrong = (older(), half()), time.monotonic() + 0.5, []

    def work(piece):
        while time.monotonic() < end:
            with full_precision(piece):
                if piece.dtype is torch.float32 and get("mkldnn", "matmul") in LOW:
                    wrong.append(piece)
                if piece is not HERE and piece.dtype is torch.float16 and half() == before[1]:
                    wrong.append(piece)

    pieces = [HERE, Gpu(torch.float32), Gpu(torch.float32), Gpu(torch.float16), Gpu(torch.bfloat16)]
    workers = [threading.Thread(target=work, args=(piece,)) for piece in pieces]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert (older(), half()) == before


def done(like, work, *states):
    """Do a piece of work in full precision."""
    for attempt in in_full_precision(like, *states):
        with attempt:
            found = work(*states)
    return found


def elsewhere(work):
    """Do something in another thread."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def compile_with(inside):
    """Compile in this thread as programs do, and do something in another meanwhile."""

    def backend(graph, _inputs):
        elsewhere(inside)
        return graph.forward

    torch._dynamo.reset()
    torch.compile(lambda x: x + 1, backend=backend)(torch.ones(3))


@pytest.mark.law(9)
@pytest.mark.parametrize("legacy", ["high", "medium"])
def test_a_compilation_that_ends_inside_has_the_piece_repeated(legacy):
    """It sets the TF32 back that it found before; what was computed since is not trusted."""
    torch.set_float32_matmul_precision(legacy)
    began, ended, seen = threading.Event(), threading.Event(), []

    def work(state):
        began.set()
        assert ended.wait(60)
        state.kept.append(torch.ones(1))
        seen.append(get("cuda", "matmul"))
        return len(seen)

    state, found = StreamState(), []
    piece = threading.Thread(target=lambda: found.append(done(Gpu(torch.float32), work, state)))
    compile_with(lambda: (piece.start(), began.wait(60)))
    ended.set()
    piece.join()
    assert (found, seen) == ([2], ["tf32", "ieee"])
    assert len(state.kept) == 1  # the first attempt left nothing
    assert older()[:2] == [legacy, True]


@pytest.mark.law(9)
def test_what_is_computed_while_another_thread_compiles_is_exact(small_codec, wanted, precisions_inside):
    """Torch says in all threads that it compiles; only the one that does computes nothing."""
    torch.set_float32_matmul_precision("medium")
    found, here = [], []
    compile_with(lambda: found.append((outputs(small_codec), is_traced())))
    torch._dynamo.reset()
    torch.compile(lambda x: x + 1, backend=lambda graph, _: here.append(is_traced()) or graph.forward)(HERE)
    ((given, there),) = found
    assert equal(given, wanted)
    assert precisions_inside.isdisjoint(LOW)
    assert (there, here) == (False, [True])


def test_a_program_that_changes_its_mind_while_something_is_compiled_is_heard():
    """Nobody turns TF32 on again."""
    torch.set_float32_matmul_precision("high")
    piece = full_precision(Gpu(torch.float32))
    piece.__enter__()

    def leave():
        piece.__exit__(None, None, None)
        torch.set_float32_matmul_precision("highest")

    compile_with(leave)
    assert older()[:2] == ["highest", False]


class Counting(TorchDispatchMode):
    """Sees every operation, as tools that count or log them do."""

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_a_mode_of_a_programs_own_is_no_compiler(small_codec, wanted, precisions_inside):
    """While another thread compiles, whoever counts operations computes as ever."""
    torch.set_float32_matmul_precision("medium")
    found = []

    def count():
        with Counting():
            found.append((outputs(small_codec), is_traced()))

    compile_with(count)
    ((given, there),) = found
    assert equal(given, wanted)
    assert precisions_inside.isdisjoint(LOW)
    assert not there


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_who_keeps_changing_the_precision_is_told(dtype):
    """A piece is repeated a few times, and then fails in a sentence, with its states as they were."""
    state, names = StreamState(kept=[None]), list(HALF)

    def work(forked):
        forked.write(0, torch.ones(1))
        if dtype is torch.float32:
            torch.set_float32_matmul_precision("high")
        else:
            value = {torch.float16: True, torch.bfloat16: (False, True)}[dtype]
            set_half({names[PINNED[dtype][1]] if value is True else names[1]: value})

    with pytest.raises(SnacTokError, match="another thread set torch's precision"):
        done(Gpu(dtype), work, state)
    assert state.kept == [None]


def test_a_graph_that_was_captured_while_the_precision_changed_is_not_kept():
    """The step raises, so that nobody holds its graph, and the piece is repeated."""
    kept, tries = [], []

    def step():
        tries.append(get("cuda", "matmul"))
        if len(tries) == 1:
            torch.backends.cuda.matmul.allow_tf32 = True

    def work():
        kept.append(captured_undisturbed(step))

    done(Gpu(torch.float32), work)
    assert kept == [None]
    assert tries == ["none", "ieee"]
    assert torch.backends.cuda.matmul.allow_tf32 is True


@torch.no_grad()
def test_chunks_are_repeated_from_the_states_that_they_had(small_codec, monkeypatch):
    """Codes and sound of streams are those of a piece that nobody disturbed, whichever call it happens in."""
    audio, calls = audio_of(small_codec), iter(range(10**6))
    codes = small_codec.encode(audio)

    def run():
        encoder = ChunkEncoder(small_codec)
        found = [level for part in audio.split(700, dim=-1) for level in encoder.push(part)]
        decoder = ChunkDecoder(small_codec, SeededNoise(seed=3))
        return [*found, *encoder.flush(audio[..., :0]), decoder.push(codes), decoder.rest()]

    wanted = run()
    # Everything but the device is as on a GPU.
    for place in (inference, chunked):
        monkeypatch.setattr(
            place, "in_full_precision", lambda like, *rest: in_full_precision(Gpu(like.dtype), *rest)
        )
    for place, name in ((Encoder, "step"), (Decoder, "step"), (ResidualQuantizer, "from_codes")):
        plain = getattr(place, name)

        def disturbed(*args, plain=plain, **options):
            if next(calls) % 5 == 0:
                torch.backends.cuda.matmul.allow_tf32 = True
            return plain(*args, **options)

        monkeypatch.setattr(place, name, disturbed)
    assert equal(run(), wanted)
    assert next(calls) > 6


@torch.no_grad()
def test_convolutions_on_a_gpu_ask_for_no_tf32(monkeypatch):
    """The call that says so computes what torch's own does; proven on the CPU, which ignores the wish."""
    asked = []
    plain = torch._convolution

    def watched(*args):
        asked.append(args[9:])
        return plain(*args)

    monkeypatch.setattr(convolution, "_is_inference_on_gpu", lambda _: True)
    monkeypatch.setattr(torch, "_convolution", watched)
    x, depthwise, dense, bias = (
        torch.randn(2, 6, 40),
        torch.randn(6, 1, 7),
        torch.randn(6, 4, 6),
        torch.randn(6),
    )
    found = convolution.conv1d(x, depthwise, bias, stride=2, padding=3, dilation=3, groups=6)
    assert torch.equal(found, F.conv1d(x, depthwise, bias, 2, 3, 3, 6))
    found = convolution.conv_transpose1d(x, dense, None, stride=3, padding=2, output_padding=1)
    assert torch.equal(found, F.conv_transpose1d(x, dense, None, 3, 2, 1))
    assert asked == [(False, False, True, False)] * 2
    with set_for_a_while(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ):
        convolution.conv1d(x, depthwise, bias, groups=6)
    assert asked[-1] == (False, True, True, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_setting_changes_a_bit_on_a_gpu():
    """TF32 on and off, by each of torch's ways, for codes and sound."""
    codec = SNAC.from_pretrained("tiny").to("cuda")
    set_all(dict.fromkeys(CHOICES, "none"))
    wanted = outputs(codec)
    for generic in ("tf32", "ieee", "none"):
        for legacy in ("medium", "high", "highest"):
            torch.backends.fp32_precision = generic
            torch.set_float32_matmul_precision(legacy)
            torch.backends.cudnn.allow_tf32 = legacy != "highest"
            assert equal(outputs(codec), wanted)
            assert torch.get_float32_matmul_precision() == legacy
