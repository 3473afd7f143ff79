# SPDX-License-Identifier: Apache-2.0
"""The update client that runs on the device."""
