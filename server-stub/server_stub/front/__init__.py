# SPDX-License-Identifier: Apache-2.0
"""What lies around the framework: functions of the ASGI kind that see every request before it does."""
