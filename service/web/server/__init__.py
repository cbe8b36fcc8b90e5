"""What replaces a piece of Quart or Hypercorn."""
