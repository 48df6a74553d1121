"""From two ends' evidence to a named cause: collect once per flow, judge purely."""
