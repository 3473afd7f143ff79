# SPDX-License-Identifier: Apache-2.0
"""The web page: the fleet, a device, an artifact, a deployment, for people. Reads what the management API reads."""
