"""`python -m snac_tok`, for where the `snac-tok` script is not on the path."""

from snac_tok.cli import main

main()
