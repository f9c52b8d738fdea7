"""Open the web page on http://localhost:7860; takes the flags of ``ssm-metarl app``."""

import sys

from ssm_metarl.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
