# SPDX-License-Identifier: Apache-2.0
"""The server's side of an over-the-air update: devices, artifacts, deployments, in one process.

Speaks Mender's device and management protocols. Knows nothing of boards or of the device's updater, except
the artifact format both sides must agree on.
"""
