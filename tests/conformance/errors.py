# SPDX-License-Identifier: Apache-2.0
"""What the runner cannot use."""


class Unusable(Exception):
    """A file, a line or an argument that says nothing the runner could do; the message is one sentence."""
