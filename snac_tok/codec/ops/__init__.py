"""What the layers compute in a chunk, one backend a file; `backend.backend_for` chooses it once a chunk."""
