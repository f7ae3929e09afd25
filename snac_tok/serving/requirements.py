"""What is said where a package of the extra `serve` is missing."""

from __future__ import annotations

from snac_tok.errors import MissingDependencyError

_EXTRA = ("fastapi", "starlette", "pydantic", "uvicorn", "websockets", "httpx2", "prometheus_client")


def missing(error: ModuleNotFoundError) -> Exception:
    """Return what to raise for a module that is not there: a sentence if it is one of the extra's.

    >>> missing(ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn"))
    MissingDependencyError("serving needs uvicorn, which is not installed: install snac_tok's extra 'serve'.")
    """
    package = (error.name or "").partition(".")[0]
    if package == "transformers":
        return MissingDependencyError(
            "a language model in this process needs transformers, which is not installed: install snac_tok's extra "
            "'hf'."
        )
    if package not in _EXTRA:
        return error
    return MissingDependencyError(
        f"serving needs {package}, which is not installed: install snac_tok's extra 'serve'."
    )
