/*
 * csv.h
 *		Rows of a body in CSV.
 */
#ifndef FACTORYD_CSV_H
#define FACTORYD_CSV_H

#define CSV_COLUMNS_MOST 256

/*
 * CSV with a line of names, as a JSON array of objects; NULL, without quotes, is null.
 * The caller's own; NULL where quotes do not end, where lines have different numbers of
 * fields, or where there are too many of them.
 */
extern char *csv_as_json(const char *csv);

#endif /* FACTORYD_CSV_H */
