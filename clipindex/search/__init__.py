"""From query terms to hits."""
