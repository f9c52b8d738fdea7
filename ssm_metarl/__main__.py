"""``python -m ssm_metarl`` is ``ssm-metarl``."""

import sys

from ssm_metarl.cli import main

if __name__ == "__main__":
    sys.exit(main())
