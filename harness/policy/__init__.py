"""What Azure's network does to a packet, told from configuration alone. Pure: nothing here does I/O."""
