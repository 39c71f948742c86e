"""The browser door: needs the extra `web`."""
