"""How a diagnosis is shown: text, JSON."""
