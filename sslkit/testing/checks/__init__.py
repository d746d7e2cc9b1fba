"""The checks, one file a kind of plugin."""
