"""What stateful operators keep between batches."""
