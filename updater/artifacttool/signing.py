# SPDX-License-Identifier: Apache-2.0
"""`sign`: an artifact with a signature more, or another one, and nothing else changed."""

import argparse

from updater.artifact import AlreadySigned, sign_artifact
from updater.artifacttool.exits import ExitCode, Failure
from updater.artifacttool.files import opened, outputs, signing_key


def sign(options: argparse.Namespace) -> ExitCode:
    """Sign in place, or into another file."""
    key = signing_key(options.key)
    if key is None:
        raise AssertionError("the option is required")
    place = options.output_path or options.artifact
    with opened(options.artifact) as source, outputs([options.key]) as made, made.file(place) as out:
        try:
            sign_artifact(source, out, key, replace=options.force)
        except AlreadySigned as error:
            why = f"The artifact {options.artifact} is already signed."
            raise Failure(ExitCode.PARAMETERS, why, "Give --force to replace its signature.") from error
    return ExitCode.OK
