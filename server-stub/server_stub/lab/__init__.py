# SPDX-License-Identifier: Apache-2.0
"""What only a laboratory wants from a server: a record of everything that devices asked."""
