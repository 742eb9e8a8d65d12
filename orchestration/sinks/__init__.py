"""Delta tables that batches are committed to, exactly once."""
