"""What to do: pure functions and small state machines. Time is an argument; nothing here waits."""
