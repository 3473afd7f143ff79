# SPDX-License-Identifier: Apache-2.0
"""The rules of the server as functions on frozen values. Refuses files, sockets, databases and clocks."""
