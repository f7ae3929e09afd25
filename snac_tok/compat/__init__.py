"""The names of the package `snac` 1.2.1, for code that imports them: our classes under upstream's names.

    import snac_tok.compat as snac
    from snac_tok.compat.layers import NoiseBlock

Code that cannot be changed finds them too, if it is imported after `sys.modules["snac"] = snac_tok.compat`.

Example:
    >>> import snac_tok.compat as snac
    >>> model = snac.SNAC.from_pretrained("tiny")
    >>> isinstance(model.decoder, snac.layers.Decoder)
    True
"""

from snac_tok.codec import SNAC
from snac_tok.compat import attention, layers, snac, vq

__all__ = ["SNAC", "attention", "layers", "snac", "vq"]

# Whose names these are, for code that asks.
__version__ = "1.2.1"
