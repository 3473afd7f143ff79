# SPDX-License-Identifier: Apache-2.0
"""The command `bootproof artifact`: artifacts written, read, validated, signed and taken apart at a workbench.

It knows the artifact format and nothing else of the updater, and its options are those of mender-artifact.
"""
