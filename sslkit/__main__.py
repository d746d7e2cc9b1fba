"""``python -m sslkit``."""

from sslkit.cli import main

if __name__ == "__main__":
    main()
