# SPDX-License-Identifier: Apache-2.0
"""Payload handlers: how the content of an artifact gets onto the device."""
