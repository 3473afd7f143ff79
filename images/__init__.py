# SPDX-License-Identifier: Apache-2.0
"""Boards' images: U-Boot, kernel, root file systems, A/B disks and artifacts, from Debian packages and our recipes."""
