"""The seed's command line: ``python main.py FLAGS`` is ``ssm-metarl train FLAGS``."""

import sys

from ssm_metarl.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
