# SPDX-License-Identifier: Apache-2.0
"""Faults: when they strike, what they do, and whether they did."""
