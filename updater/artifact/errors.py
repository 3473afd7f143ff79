# SPDX-License-Identifier: Apache-2.0
"""The ways this package says no: the artifact is wrong, or of a kind not supported, or a key is unusable."""


class ArtifactError(Exception):
    """The artifact breaks the format or its own checksums; the message is one clear sentence."""


class UnsupportedVersion(ArtifactError):
    """The artifact is of another format version."""


class UnsupportedFeature(ArtifactError):
    """The artifact uses what the format knows and this reader does not."""


class NotVerified(ArtifactError):
    """The artifact has no signature, or none that the given keys verify."""


class AlreadySigned(ArtifactError):
    """The artifact has a signature, which was not meant to be replaced."""


class KeyRefused(ValueError):
    """A PEM key is unreadable or of a kind that artifacts are not signed with; the message names the kind."""
