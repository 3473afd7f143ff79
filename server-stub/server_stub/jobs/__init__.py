# SPDX-License-Identifier: Apache-2.0
"""What is done in one transaction: functions of a connection that read rows, ask the rules and write rows.

A job may be refused by raising a Refusal and has no effect but on the database, so the writer may run it with others.
"""
