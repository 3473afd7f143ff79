# SPDX-License-Identifier: Apache-2.0
"""`python -m updater.artifacttool` is the command `bootproof artifact`."""

import sys

from updater.artifacttool.cli import main

sys.exit(main())
