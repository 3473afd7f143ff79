# SPDX-License-Identifier: Apache-2.0
"""The device API as a client: authentication, deployments, inventory, download."""
