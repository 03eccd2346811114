#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The source rules, as tests of every run.
exec "$(dirname "$0")/../../scripts/lint"
