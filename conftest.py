# SPDX-License-Identifier: Apache-2.0
"""The harness is a pytest plugin; nothing else happens here."""

pytest_plugins = ["harness.pytest_plugin"]
