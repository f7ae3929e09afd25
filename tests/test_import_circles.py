"""No module imports itself by way of others, inside functions included: each can be read after its imports."""

import ast
from pathlib import Path

import snac_tok

PACKAGE = Path(snac_tok.__file__).parent


# Circles that only annotations close (`if TYPE_CHECKING`). This list may only get shorter.
OF_ANNOTATIONS = {
    frozenset({"snac_tok.audio.encoding", "snac_tok.audio.waveform"}),
}


def imports_of(path, *, annotations):
    """Return the modules of ours that a file imports anywhere; with `annotations` those, too, that only they name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotating = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in annotating and not annotations:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(*, annotations):
    """Return what each module imports, a package's own `__init__` under the package's name."""
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    edges = {name: set() for name in paths}
    for name, path in paths.items():
        for target in imports_of(path, annotations=annotations):
            # `from package import name` means a module where there is one, else what defines the name.
            found = target if target in paths else target.rpartition(".")[0]
            if found in paths and found != name:
                edges[name].add(found)
    edges["snac_tok"] = set()  # it re-exports lazily, and nobody below needs more of it than the version
    return edges


def circles(edges):
    """Return the groups of modules that reach each other (Tarjan's strongly connected components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(frozenset(stack[at:]))
            del stack[at:]

    for name in edges:
        if name not in index:
            visit(name)
    return found


def test_no_module_imports_itself_by_way_of_others():
    """Whatever is imported when the program runs."""
    assert circles(graph(annotations=False)) == []


def test_annotations_close_no_new_circle():
    """A module whose types another one needs stands below it; what is left is listed, and leaves it when mended."""
    assert set(circles(graph(annotations=True))) <= OF_ANNOTATIONS


def test_circles_are_found():
    """The search itself: in a chain there are none, in a ring there is one."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [frozenset("abc")]
