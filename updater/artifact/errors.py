# SPDX-License-Identifier: Apache-2.0
"""The two ways this package says no: the artifact is wrong, or a key is unusable."""


class ArtifactError(Exception):
    """The artifact breaks the format or its own checksums; the message is one clear sentence."""


class KeyRefused(ValueError):
    """A PEM key is unreadable or of a kind that artifacts are not signed with; the message names the kind."""
