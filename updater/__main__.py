# SPDX-License-Identifier: Apache-2.0
"""`python -m updater` is the command `mender-update`."""

import sys

from updater.cli import main

sys.exit(main())
