"""Register maps: TOML, JSON, CSV."""
