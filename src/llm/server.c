/*
 * server.c
 *		Options of foreign servers and user mappings of factory_llm.
 *
 * The validator sees an option list and no more: not the server, not the role, and
 * it runs at restore too.  So it never looks at files, and what a key may be used
 * for is decided at each use (server_use.c).
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/nearest.h"
#include "base/secret.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "http/http.h"
#include "llm/llm_int.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define KEY_ENVIRONMENT_PREFIX "FACTORY_"

#define SERVER_MAX_CONNECTIONS 1000

static const LlmProvider *const providers[] = {&openai_provider, &azure_provider,
											   &anthropic_provider, &gemini_provider};

const LlmProvider *
provider_find(const char *name)
{
	for (int i = 0; i < lengthof(providers); i++)
		if (strcmp(providers[i]->name, name) == 0)
			return providers[i];
	return NULL;
}

bool
server_files_are_open_to(Oid role)
{
	return has_privs_of_role(role, ROLE_PG_READ_SERVER_FILES);
}

/* --- the validator -------------------------------------------------------------------- */

typedef struct OptionRule
{
	Oid catalog;
	const char *name;
	void (*check)(const char *name, const char *value);
	bool reads_server; /* needs pg_read_server_files */
} OptionRule;

static void
refuse_value(const char *name, const char *hint)
{
	/* The value may be a key, put into the wrong option: it is not repeated. */
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\"", name), errhint("%s", hint)));
}

static void
check_provider(const char *name, const char *value)
{
	if (provider_find(value) == NULL)
		refuse_value(name, "Providers are: openai (and every server that speaks its chat "
						   "completions), azure, anthropic and gemini.");
}

static void
check_url(const char *name, const char *value)
{
	char *fault = http_url_error(value);

	if (fault != NULL)
		refuse_value(name,
					 psprintf("The value is refused because %s. Write it like "
							  "https://api.openai.com/v1; keys go into a user mapping.",
							  fault));
}

static void
check_boolean(const char *name, const char *value)
{
	bool ignored;

	if (!parse_bool(value, &ignored))
		refuse_value(name, "Write true or false.");
}

static void
check_count(const char *name, const char *value)
{
	int count;

	if (!parse_int(value, &count, 0, NULL) || count < 1 || count > SERVER_MAX_CONNECTIONS)
		refuse_value(name, psprintf("Write a whole number from 1 to %d.",
									SERVER_MAX_CONNECTIONS));
}

static void
check_path(const char *name, const char *value)
{
	if (!is_absolute_path(value))
		refuse_value(name, "Write an absolute path on the database server.");
}

static void
check_environment(const char *name, const char *value)
{
	if (strncmp(value, KEY_ENVIRONMENT_PREFIX, strlen(KEY_ENVIRONMENT_PREFIX)) != 0)
		refuse_value(name, "Only variables whose names begin with " KEY_ENVIRONMENT_PREFIX
						   " can be named.");
}

/* A key is sent in a header line: it is one line of visible ASCII. */
const char *
server_key_fault(const char *key)
{
	if (key[0] == '\0')
		return "it is empty";
	if (strlen(key) > SECRET_MAX_LENGTH)
		return "it is longer than any key";
	for (const char *c = key; *c; c++)
		if (*c <= ' ' || *c > '~')
			return "it contains a character that is not visible ASCII";
	return NULL;
}

static void
check_key(const char *name, const char *value)
{
	const char *fault = server_key_fault(value);

	if (fault != NULL)
		refuse_value(name, psprintf("The value is refused because %s.", fault));
	ereport(NOTICE, (errmsg("the key is now in the database's catalog, WAL and backups"),
					 errhint("Option \"api_key_file\" or \"api_key_env\" keeps it out of "
							 "them.")));
}

static const OptionRule option_rules[] = {
	{ForeignServerRelationId, "provider", check_provider},
	{ForeignServerRelationId, "base_url", check_url},
	{ForeignServerRelationId, "allow_http", check_boolean},
	{ForeignServerRelationId, "allow_private", check_boolean},
	{ForeignServerRelationId, "ca_file", check_path, .reads_server = true},
	{ForeignServerRelationId, "max_connections", check_count},
	{UserMappingRelationId, "api_key", check_key},
	{UserMappingRelationId, "api_key_file", check_path, .reads_server = true},
	{UserMappingRelationId, "api_key_env", check_environment, .reads_server = true},
};

static const char *
catalog_noun(Oid catalog)
{
	switch (catalog)
	{
		case ForeignServerRelationId:
			return "server";
		case UserMappingRelationId:
			return "user mapping";
		case ForeignDataWrapperRelationId:
			return "foreign-data wrapper";
		default:
			return "foreign table";
	}
}

static void
refuse_option_name(const char *name, Oid catalog)
{
	const char *known[lengthof(option_rules)];
	int count = 0;
	const char *nearest;
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(option_rules); i++)
		if (option_rules[i].catalog == catalog)
		{
			appendStringInfo(&list, "%s%s", count ? ", " : "", option_rules[i].name);
			known[count++] = option_rules[i].name;
		}
	nearest = nearest_name(name, known, count);
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					errmsg("option \"%s\" is not known to a %s of %s", name,
						   catalog_noun(catalog), LLM_WRAPPER_NAME),
					nearest     ? errhint("Perhaps you meant \"%s\".", nearest)
					: count > 0 ? errhint("Options of a %s are: %s.",
										  catalog_noun(catalog), list.data)
								: errhint("A %s of %s has no options.",
										  catalog_noun(catalog), LLM_WRAPPER_NAME)));
}

static void
check_option(const char *name, const char *value, Oid catalog)
{
	for (int i = 0; i < lengthof(option_rules); i++)
	{
		const OptionRule *rule = &option_rules[i];

		if (rule->catalog != catalog || strcmp(rule->name, name) != 0)
			continue;
		if (rule->reads_server && !server_files_are_open_to(GetUserId()))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to set option \"%s\"", name),
					 errdetail("Only roles with privileges of role "
							   "\"pg_read_server_files\" may set it."),
					 errhint("Ask such a role to set it, or use another option.")));
		rule->check(name, value);
		return;
	}
	refuse_option_name(name, catalog);
}

static void
require_option(List *options, const char *wanted, const char *hint)
{
	ListCell *cell;

	foreach (cell, options)
		if (strcmp(((DefElem *) lfirst(cell))->defname, wanted) == 0)
			return;
	ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
					errmsg("option \"%s\" of the server is missing", wanted),
					errhint("%s", hint)));
}

FACTORY_FUNCTION(factory_llm_validator);

Datum
factory_llm_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		check_option(option->defname, defGetString(option), catalog);
	}
	if (catalog == ForeignServerRelationId)
		require_option(options, "base_url",
					   "Say where the server is, such as https://api.openai.com/v1.");
	if (catalog == UserMappingRelationId && list_length(options) > 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("a user mapping has one key, not several"),
						errhint("Keep one of api_key_file, api_key_env and api_key, and "
								"DROP the others.")));
	PG_RETURN_VOID();
}
