# SPDX-License-Identifier: Apache-2.0
"""The harness: boards that can be cut off from power at any write, and the judgement of what is left."""
