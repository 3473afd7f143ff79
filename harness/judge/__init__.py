# SPDX-License-Identifier: Apache-2.0
"""From bytes and values to a verdict.

Owns every judgement on a board.  It never asks the updater, never touches a board and changes nothing of what it
reads, so that a log or a disk from anyone's machine can be judged.
"""

from harness.judge import data, partitions
from harness.judge.bootenv import (
    SLOTS,
    Environment,
    EnvironmentCopy,
    Slot,
    choose,
    encode_copy,
    parse_copies,
    parse_copy,
    parse_text,
    read_environment,
)
from harness.judge.bootmodel import NextBoot, next_boot
from harness.judge.console import alarms
from harness.judge.evidence import Evidence, ServerRecord
from harness.judge.medium import Medium
from harness.judge.partitions import BrokenTable, Partition, read_gpt
from harness.judge.slots import KnownImage, identify
from harness.judge.verdict import Expectation, Finding, Outcome, Verdict, judge_cut, judge_settled

__all__ = [
    "SLOTS",
    "BrokenTable",
    "Environment",
    "EnvironmentCopy",
    "Evidence",
    "Expectation",
    "Finding",
    "KnownImage",
    "Medium",
    "NextBoot",
    "Outcome",
    "Partition",
    "ServerRecord",
    "Slot",
    "Verdict",
    "alarms",
    "choose",
    "data",
    "encode_copy",
    "identify",
    "judge_cut",
    "judge_settled",
    "next_boot",
    "parse_copies",
    "parse_copy",
    "parse_text",
    "partitions",
    "read_environment",
    "read_gpt",
]
