# SPDX-License-Identifier: Apache-2.0
"""Lets `python -m server_stub` start the command line; owns nothing else."""

import sys

from server_stub.cli import main

if __name__ == "__main__":
    sys.exit(main())
