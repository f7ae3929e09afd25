"""Round-trips of sound through codecs, and what they are worth in figures."""
