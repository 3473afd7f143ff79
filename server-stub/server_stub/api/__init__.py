# SPDX-License-Identifier: Apache-2.0
"""HTTP: turns requests into calls of the domain's rules and answers into responses. Holds no rules of its own."""
