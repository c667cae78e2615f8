"""`python -m nca3d`, the same as the `nca3d` command."""

import sys

from nca3d.cli import main

if __name__ == "__main__":
    sys.exit(main())
