# SPDX-License-Identifier: Apache-2.0
"""The planted faults, a file for each area; `images.mutants` puts them together."""
