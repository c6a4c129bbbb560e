/*
 * config.c
 *		What factoryd was told: a file of KEY=VALUE lines, and the environment.
 *
 * One row is one setting.  A misspelt line of the file is refused; a variable of
 * the environment is only reported, because Kubernetes makes FACTORYD_PORT and
 * the like out of a service's name.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

#define LINE_LIMIT 8192
#define PREFIX "FACTORYD_"

/* HS256 is as strong as its key: shorter than the hash is a password to guess. */
#define JWT_SECRET_SHORTEST 32

typedef enum SettingKind
{
	SETTING_TEXT,
	SETTING_COUNT,
	SETTING_DURATION, /* ms, s, min, h; seconds where none is said */
	SETTING_SIZE,     /* B, kB, MB; bytes where none is said */
	SETTING_SWITCH    /* on, off */
} SettingKind;

typedef struct Setting
{
	const char *name;
	SettingKind kind;
	size_t offset;
	const char *fallback;
	long least;
	long most;
	const char *meaning;
} Setting;

#define AT(field) offsetof(Config, field)

static const Setting settings[] = {
	{"FACTORYD_AGGREGATES", SETTING_SWITCH, AT(aggregates), "off", 0, 1,
	 "on lets select= use avg(), count(), max(), min() and sum()"},
	{"FACTORYD_ANON_ROLE", SETTING_TEXT, AT(anon_role), "", 0, 0,
	 "role of requests without a token; none refuses them"},
	{"FACTORYD_CHANNEL", SETTING_TEXT, AT(channel), "pgrst", 0, 0,
	 "NOTIFY on it makes factoryd read anew what it serves; empty for none"},
	{"FACTORYD_CORS_ORIGINS", SETTING_TEXT, AT(cors_origins), "", 0, 0,
	 "origins whose pages may read answers, comma-separated, or *; none where empty"},
	{"FACTORYD_DATABASE", SETTING_TEXT, AT(database), "", 0, 0,
	 "libpq connection string or URI; PGHOST and the like where empty"},
	{"FACTORYD_DATABASE_READ", SETTING_TEXT, AT(database_read), "", 0, 0,
	 "a standby for views, questions and dashboards; FACTORYD_DATABASE where it is away"},
	{"FACTORYD_DRAIN", SETTING_DURATION, AT(drain), "10s", 0, 3600000,
	 "what running requests get at shutdown"},
	{"FACTORYD_IDLE_TIMEOUT", SETTING_DURATION, AT(idle_timeout), "75s", 100, 86400000,
	 "how long a client's connection may rest between requests"},
	{"FACTORYD_JWKS_FILE", SETTING_TEXT, AT(jwks_file), "", 0, 0,
	 "JSON web key set that tokens are checked with"},
	{"FACTORYD_JWT_AUD", SETTING_TEXT, AT(jwt_audience), "", 0, 0,
	 "what a token's claim \"aud\" has to name; any where empty"},
	{"FACTORYD_JWT_ISSUER", SETTING_TEXT, AT(jwt_issuer), "", 0, 0,
	 "what a token's claim \"iss\" has to be; any where empty"},
	{"FACTORYD_JWT_ROLE_CLAIM", SETTING_TEXT, AT(jwt_role_claim), "role", 0, 0,
	 "claim that names the role, or the way to it: .app.role"},
	{"FACTORYD_JWT_SECRET", SETTING_TEXT, AT(jwt_secret), "", 0, 0,
	 "key of the tokens' HS256 signature, 32 bytes or more"},
	{"FACTORYD_JWT_TENANT_CLAIM", SETTING_TEXT, AT(jwt_tenant_claim), "tenant_id", 0, 0,
	 "claim that names the tenant; where empty it follows from the role alone"},
	{"FACTORYD_LISTEN", SETTING_TEXT, AT(listen), "127.0.0.1:8080", 0, 0,
	 "address and port"},
	{"FACTORYD_LOOPS", SETTING_COUNT, AT(loops), "0", 0, 256,
	 "event loops, each a thread with its share of the pool; 0 for one a core"},
	{"FACTORYD_LOOK_INTERVAL", SETTING_DURATION, AT(look_interval), "2s", 0, 86400000,
	 "how often it looks whether what it serves has changed; 0 for never"},
	{"FACTORYD_MAX_BODY", SETTING_SIZE, AT(max_body), "10MB", 1024, 1073741824,
	 "longest request body"},
	{"FACTORYD_MAX_CONNECTIONS", SETTING_COUNT, AT(max_connections), "1000", 1, 1000000,
	 "clients at the same time"},
	{"FACTORYD_MAX_ROWS", SETTING_COUNT, AT(max_rows), "0", 0, 1000000000,
	 "most rows of one answer from a table, view or function; 0 for any number"},
	{"FACTORYD_POOL", SETTING_COUNT, AT(pool), "20", 1, 10000,
	 "connections to the database that are kept"},
	{"FACTORYD_POOL_OVERFLOW", SETTING_COUNT, AT(pool_overflow), "40", 0, 10000,
	 "connections made beyond those where requests wait"},
	{"FACTORYD_POOL_PROBE", SETTING_DURATION, AT(pool_probe), "30s", 1, 86400000,
	 "rest after which a connection is asked whether it lives before it is used"},
	{"FACTORYD_POOL_RECYCLE", SETTING_DURATION, AT(pool_recycle), "1h", 1000, 604800000,
	 "age at which a connection to the database is replaced"},
	{"FACTORYD_POOL_WAIT", SETTING_DURATION, AT(pool_wait), "30s", 1, 3600000,
	 "what a request waits for a connection before 503"},
	{"FACTORYD_QUEUE", SETTING_COUNT, AT(queue), "1000", 0, 1000000,
	 "requests that wait for a connection at the same time"},
	{"FACTORYD_RATE_LIMITS", SETTING_TEXT, AT(rate_limits), "", 0, 0,
	 "requests of one caller, such as \"bi 60/min 2000/h burst 10, judgment 30/min\""},
	{"FACTORYD_READ_TIMEOUT", SETTING_DURATION, AT(read_timeout), "30s", 100, 3600000,
	 "from a request's first byte to its last"},
	{"FACTORYD_REQUEST_TIMEOUT", SETTING_DURATION, AT(request_timeout), "60s", 1,
	 86400000, "what a request's statement may take before 504"},
	{"FACTORYD_SCHEMAS", SETTING_TEXT, AT(schemas), "factory", 0, 0,
	 "schemas that are served, comma-separated"},
	{"FACTORYD_TLS_CERT_FILE", SETTING_TEXT, AT(tls_cert_file), "", 0, 0,
	 "PEM file of the certificate chain; TLS is spoken where it is set"},
	{"FACTORYD_TLS_KEY_FILE", SETTING_TEXT, AT(tls_key_file), "", 0, 0,
	 "PEM file of the certificate's key"},
	{"FACTORYD_TX_ROLLBACK", SETTING_SWITCH, AT(tx_rollback), "off", 0, 1,
	 "on obeys Prefer: tx=rollback: what a request did is undone, its log included"},
};

#define SETTING_COUNT_OF (sizeof(settings) / sizeof(settings[0]))

typedef struct Unit
{
	const char *name;
	SettingKind kind;
	long factor;
} Unit;

static const Unit units[] = {
	{"ms", SETTING_DURATION, 1},
	{"s", SETTING_DURATION, 1000},
	{"min", SETTING_DURATION, 60000},
	{"h", SETTING_DURATION, 3600000},
	{"", SETTING_DURATION, 1000},
	{"B", SETTING_SIZE, 1},
	{"kB", SETTING_SIZE, 1024},
	{"MB", SETTING_SIZE, 1024 * 1024},
	{"", SETTING_SIZE, 1},
	{"", SETTING_COUNT, 1},
};

static const Setting *
setting_named(const char *name, size_t length)
{
	for (size_t i = 0; i < SETTING_COUNT_OF; i++)
		if (strlen(settings[i].name) == length &&
			strncmp(settings[i].name, name, length) == 0)
			return &settings[i];
	return NULL;
}

static void
hint_at_nearest(const char *name)
{
	const Setting *nearest = NULL;
	int least = LONGEST_NAME;

	for (size_t i = 0; i < SETTING_COUNT_OF; i++)
	{
		int distance = text_distance(name, settings[i].name);

		if (distance < least)
		{
			least = distance;
			nearest = &settings[i];
		}
	}
	if (nearest)
		log_hint("Perhaps you meant %s; factoryd --help lists all.", nearest->name);
}

static bool
parse_number(const Setting *setting, const char *value, long *result)
{
	char *rest;
	long number;

	if (setting->kind == SETTING_SWITCH)
	{
		*result = strcmp(value, "on") == 0;
		return *result || strcmp(value, "off") == 0;
	}
	errno = 0;
	number = strtol(value, &rest, 10);
	if (errno || rest == value)
		return false;
	while (*rest == ' ')
		rest++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		if (units[i].kind != setting->kind || strcmp(units[i].name, rest) != 0)
			continue;
		return !__builtin_mul_overflow(number, units[i].factor, result);
	}
	return false;
}

static const char *
unit_names(SettingKind kind)
{
	switch (kind)
	{
		case SETTING_DURATION:
			return "a whole number with ms, s, min or h";
		case SETTING_SIZE:
			return "a whole number with B, kB or MB";
		case SETTING_SWITCH:
			return "on or off";
		default:
			return "a whole number";
	}
}

static bool
assign(Config *config, const Setting *setting, const char *value)
{
	void *field = (char *) config + setting->offset;
	long number;

	if (setting->kind == SETTING_TEXT)
	{
		char **text = field;

		free(*text);
		*text = text_copy(value);
		return true;
	}
	if (!parse_number(setting, value, &number))
	{
		log_error("invalid value \"%s\" of %s", value, setting->name);
		log_hint("It takes %s; the default is %s.", unit_names(setting->kind),
				 setting->fallback);
		return false;
	}
	if (number < setting->least || number > setting->most)
	{
		log_error("value \"%s\" of %s is outside its limits", value, setting->name);
		log_hint("The least is %ld and the most %ld%s; the default is %s.",
				 setting->least, setting->most,
				 setting->kind == SETTING_DURATION ? " ms"
				 : setting->kind == SETTING_SIZE   ? " bytes"
												   : "",
				 setting->fallback);
		return false;
	}
	*(long *) field = number;
	return true;
}

/* Cuts white space off both ends, and a pair of quotes around the rest. */
static char *
bare_value(char *value)
{
	size_t length;

	while (isspace((unsigned char) *value))
		value++;
	length = strlen(value);
	while (length > 0 && isspace((unsigned char) value[length - 1]))
		length--;
	if (length >= 2 && (value[0] == '"' || value[0] == '\'') &&
		value[length - 1] == value[0])
	{
		value++;
		length -= 2;
	}
	value[length] = '\0';
	return value;
}

static bool
read_line(Config *config, char *line, const char *path, int number)
{
	const Setting *setting;
	char *name = line;
	char *equals;
	size_t length;

	while (isspace((unsigned char) *name))
		name++;
	if (*name == '\0' || *name == '#')
		return true;
	equals = strchr(name, '=');
	if (equals == NULL)
	{
		log_error("line %d of \"%s\" is not KEY=VALUE", number, path);
		return false;
	}
	length = equals - name;
	while (length > 0 && isspace((unsigned char) name[length - 1]))
		length--;
	setting = setting_named(name, length);
	if (setting == NULL)
	{
		name[length] = '\0';
		log_error("unknown setting \"%s\" on line %d of \"%s\"", name, number, path);
		hint_at_nearest(name);
		return false;
	}
	return assign(config, setting, bare_value(equals + 1));
}

static bool
read_file(Config *config, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[LINE_LIMIT];
	bool good = true;

	if (file == NULL)
	{
		log_error("could not open \"%s\": %s", path, strerror(errno));
		return false;
	}
	for (int number = 1; good && fgets(line, sizeof(line), file); number++)
	{
		if (strlen(line) == sizeof(line) - 1)
		{
			log_error("line %d of \"%s\" is longer than %d bytes", number, path,
					  LINE_LIMIT - 2);
			good = false;
		}
		else
			good = read_line(config, line, path, number);
	}
	fclose(file);
	return good;
}

static bool
read_environment(Config *config)
{
	extern char **environ;

	for (char **variable = environ; *variable; variable++)
	{
		const char *equals = strchr(*variable, '=');
		const Setting *setting;

		if (equals == NULL || strncmp(*variable, PREFIX, strlen(PREFIX)) != 0)
			continue;
		setting = setting_named(*variable, equals - *variable);
		if (setting == NULL)
		{
			char *name = strndup(*variable, equals - *variable);

			log_info("\"%s\" in the environment is no setting", name);
			hint_at_nearest(name);
			free(name);
			continue;
		}
		if (!assign(config, setting, equals + 1))
			return false;
	}
	return true;
}

static bool
fits_together(const Config *config)
{
	size_t length = strlen(config->jwt_secret);

	if (length > 0 && length < JWT_SECRET_SHORTEST)
	{
		log_error("FACTORYD_JWT_SECRET has %zu bytes, fewer than %d", length,
				  JWT_SECRET_SHORTEST);
		log_hint("Make one with: openssl rand -base64 32");
		return false;
	}
	if (strspn(config->schemas, ", ") == strlen(config->schemas))
	{
		log_error("FACTORYD_SCHEMAS names no schema");
		return false;
	}
	if ((*config->tls_cert_file == '\0') != (*config->tls_key_file == '\0'))
	{
		log_error("FACTORYD_TLS_CERT_FILE and FACTORYD_TLS_KEY_FILE need each other");
		return false;
	}
	return true;
}

bool
config_load(Config *config, const char *path)
{
	memset(config, 0, sizeof(*config));
	for (size_t i = 0; i < SETTING_COUNT_OF; i++)
		if (!assign(config, &settings[i], settings[i].fallback))
			return false;
	if (path && !read_file(config, path))
		return false;
	if (!read_environment(config) || !fits_together(config))
		return false;
	return true;
}

int
config_loop_count(const Config *config)
{
	long count = config->loops ? config->loops : sysconf(_SC_NPROCESSORS_ONLN);

	return (int) (count < config->pool ? count : config->pool);
}

/* What a restart alone changes. */
static const char *const fixed[] = {"FACTORYD_LISTEN", "FACTORYD_LOOPS"};

void
config_keep_fixed(Config *fresh, const Config *running)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
	{
		const Setting *setting = setting_named(fixed[i], strlen(fixed[i]));
		void *new = (char *) fresh + setting->offset;
		const void *old = (const char *) running + setting->offset;
		bool text = setting->kind == SETTING_TEXT;

		if (text ? strcmp(*(char **) new, *(char *const *) old) == 0
				 : *(long *) new == *(const long *) old)
			continue;
		log_info("%s changes with the next start, not before", setting->name);
		if (!text)
		{
			*(long *) new = *(const long *) old;
			continue;
		}
		free(*(char **) new);
		*(char **) new = text_copy(*(char *const *) old);
	}
}

void
config_free(Config *config)
{
	for (size_t i = 0; i < SETTING_COUNT_OF; i++)
		if (settings[i].kind == SETTING_TEXT)
			free(*(char **) ((char *) config + settings[i].offset));
}

void
config_print_help(void)
{
	printf("Settings, from the file and then the environment:\n");
	for (size_t i = 0; i < SETTING_COUNT_OF; i++)
		printf("  %-26s %s%s%s%s\n", settings[i].name, settings[i].meaning,
			   settings[i].fallback[0] ? " (" : "", settings[i].fallback,
			   settings[i].fallback[0] ? ")" : "");
}
