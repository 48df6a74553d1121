"""Many flows at once: every pair that is asked for, what came of it, and how it is shown."""
