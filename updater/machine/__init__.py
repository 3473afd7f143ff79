# SPDX-License-Identifier: Apache-2.0
"""The update as a state machine: its tables, and the engine that walks them."""
