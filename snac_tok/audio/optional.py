"""The one place where optional packages are imported, and only when they are needed.

With a torch of another build, `import torchaudio` fails with OSError or RuntimeError, not only with ImportError:
every failure becomes the same sentence here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from snac_tok.errors import MissingDependencyError

if TYPE_CHECKING:
    from types import ModuleType


def import_optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise an error with the extra to install and the purpose.

    Raises:
        MissingDependencyError: it is not installed, or installed and broken.

    >>> import_optional("json", extra="ffmpeg", purpose="reading").__name__
    'json'
    """
    name = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise MissingDependencyError(
                f"{purpose} needs {name}, which is not installed: install snac_tok's extra {extra!r}, in its folder "
                f"`pip install -e '.[{extra}]'`."
            ) from error
        reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        raise MissingDependencyError(
            f"{purpose} needs {name}, which does not load here ({reason}): install it, as snac_tok's extra {extra!r} "
            "does, in a build that fits your torch."
        ) from error
