/*
 * log.c
 *		One line on standard error for what an operator would act on.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_LIMIT 1024

/*
 * Written whole, so that lines of several processes do not mix.  Line breaks in
 * what others told us (libpq's messages have them) become spaces.
 */
static void
write_line(const char *level, const char *format, va_list arguments)
{
	char line[LOG_LINE_LIMIT];
	time_t now = time(NULL);
	struct tm utc;
	size_t used;
	size_t start;
	int length;

	gmtime_r(&now, &utc);
	used = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S UTC ", &utc);
	used += snprintf(line + used, sizeof(line) - used,
					 "factoryd[%d] %s:  ", (int) getpid(), level);
	start = used;
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, arguments);
	if (length < 0)
		return;
	used += length;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	while (used > start && (line[used - 1] == '\n' || line[used - 1] == ' '))
		used--;
	for (size_t i = start; i < used; i++)
		if ((unsigned char) line[i] < ' ')
			line[i] = ' ';
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* nobody to tell */
}

#define LOG_FUNCTION(name, level) \
	void name(const char *format, ...) \
	{ \
		va_list arguments; \
		va_start(arguments, format); \
		write_line(level, format, arguments); \
		va_end(arguments); \
	}

LOG_FUNCTION(log_info, "LOG")
LOG_FUNCTION(log_error, "ERROR")
LOG_FUNCTION(log_hint, "HINT")
