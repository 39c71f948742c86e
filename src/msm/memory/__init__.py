"""What is: the register image and the names laid over it. Thread-safe, no I/O, no event loop."""
