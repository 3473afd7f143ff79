# SPDX-License-Identifier: Apache-2.0
"""One module for each group of commands: `add` says how it is called, and imports nothing heavy before it runs."""
