/*-------------------------------------------------------------------------
 *
 * rows.h
 *		The rows of a command of idem_execute(), as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_ROWS_H
#define IDEM_ROWS_H

#include "executor/spi.h"

/*
 * The rows as a JSON array of objects, in the current memory context.
 *
 * rows: NULL if the command returns none.  numbers_as_text: values of bigint and
 * numeric, and those in arrays of them, become JSON strings.
 *
 * Errors: 42701 if two columns have the same name; 54000 if the JSON is beyond
 * idempotency.response_limit.
 */
extern text *rows_to_json(SPITupleTable *rows, bool numbers_as_text);

#endif							/* IDEM_ROWS_H */
