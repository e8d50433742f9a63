"""``python -m facewright`` is the ``facewright`` command."""

import sys

from facewright.cli import main

sys.exit(main())
