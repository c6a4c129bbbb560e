/*
 * log.h
 *		One line on standard error for what an operator would act on.
 *
 * Never a request's body, a row, a token or a connection string.
 */
#ifndef FACTORYD_LOG_H
#define FACTORYD_LOG_H

extern void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says what to do about the error logged just before. */
extern void log_hint(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* FACTORYD_LOG_H */
