"""How it travels: bytes in, messages out. No memory, no policy."""
