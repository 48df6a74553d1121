"""Azure's network as data: what the policy engine, the lab and the diagnosis read."""
