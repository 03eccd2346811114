/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statement of a topic rule. SPEC aws-iot 5.1, 5.2.
 *
 * Built: `SELECT * FROM 'topic filter'`, keywords in any case, blanks as one likes, the filter in
 * single or double quotes. Everything else is refused with the place where it begins, because a
 * rule that is accepted and then does something else is worse than none.
 */
#ifndef BM_RULES_SQL_H
#define BM_RULES_SQL_H

#include "base/bytes.h"

/* Append the filter to `filter`. BM_ERR_PROTO: the sentence for SqlParseException. */
enum bm_err sql_parse(struct span text, struct buf *filter, struct bm_msg *msg);

#endif
