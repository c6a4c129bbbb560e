/*
 * bi.c
 *		The settings of questions.
 *
 * Only a superuser, or a role that was granted SET, may change them: they say
 * how far generated SQL may go.
 */
#include "postgres.h"

#include <limits.h>

#include "base/settings.h"
#include "bi/bi.h"
#include "bi/bi_int.h"

char *bi_reader_role = NULL;
char *bi_reader_search_path = NULL;
char *bi_model = NULL;
int bi_timeout_ms;
int bi_max_rows;
int bi_max_bytes_kb;
int bi_cache_ttl_ms;
int bi_memory_kb;

static const Setting settings[] = {
	{"factory.question_cache_ttl",
	 "Sets how long a question's rows may be given again; 0 reads them every time.",
	 SETTING_INT, &bi_cache_ttl_ms, .boot = 600000, .min = 0, .max = 86400000,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MS},
	{"factory.question_max_bytes",
	 "Sets how much a question's rows may weigh; the rest is cut off.", SETTING_INT,
	 &bi_max_bytes_kb, .boot = 16 * 1024, .min = 1, .max = 1024 * 1024,
	 .context = PGC_SUSET, .flags = GUC_UNIT_KB},
	{"factory.question_max_rows",
	 "Sets how many rows a question may return; the rest is cut off.", SETTING_INT,
	 &bi_max_rows, .boot = 10000, .min = 1, .max = 1000000, .context = PGC_SUSET},
	{"factory.question_memory",
	 "Sets how much memory a question's statement may take beyond the session's own.",
	 SETTING_INT, &bi_memory_kb, .boot = 256 * 1024, .min = 1024, .max = MAX_KILOBYTES,
	 .context = PGC_SUSET, .flags = GUC_UNIT_KB},
	{"factory.question_model",
	 "Sets the model asked where the catalogue does not understand a question.",
	 SETTING_STRING, &bi_model, .boot_text = "", .context = PGC_SUSET},
	{"factory.question_timeout", "Sets how long a question's statement may run.",
	 SETTING_INT, &bi_timeout_ms, .boot = 30000, .min = 1, .max = 3600000,
	 .context = PGC_SUSET, .flags = GUC_UNIT_MS},
	{"factory.reader_role", "Sets the role as which generated SQL runs.", SETTING_STRING,
	 &bi_reader_role, .boot_text = "factory_reader", .context = PGC_SUSET},
	{"factory.reader_search_path",
	 "Sets the schemas in which generated SQL finds its tables.", SETTING_STRING,
	 &bi_reader_search_path, .boot_text = "public", .context = PGC_SUSET},
};

void
bi_define_settings(void)
{
	settings_define(settings, lengthof(settings));
}
