# SPDX-License-Identifier: Apache-2.0
"""All moments at which the power could fail during an update: counted, judged, and booted where it matters."""
