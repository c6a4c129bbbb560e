/*
 * server_use.c
 *		A foreign server of factory_llm as the current user may use it, and the key it is
 *		used with.
 *
 * Whoever may change a server's base_url receives the key.  A key from a file or
 * the environment belongs to the machine, so it is used only where the server's
 * owner could read it anyway.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/secret.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "llm/llm_int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* --- options ----------------------------------------------------------------------------- */

static char *
option_value(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static bool
option_is_true(List *options, const char *name)
{
	char *text = option_value(options, name);
	bool value = false;

	return text != NULL && parse_bool(text, &value) && value;
}

static int
option_count(List *options, const char *name)
{
	char *text = option_value(options, name);
	int value = 0;

	return text != NULL && parse_int(text, &value, 0, NULL) ? value : 0;
}

/* The current user's mapping, else PUBLIC's; NIL where there is neither. */
static List *
mapping_options(Oid server)
{
	HeapTuple tuple =
		SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(GetUserId()),
						ObjectIdGetDatum(server));
	List *options = NIL;
	Datum datum;
	bool is_null;

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions,
							&is_null);
	if (!is_null)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

/* Where the mapping says the key is, as text; NULL with the reason where it is not. */
static char *
fetch_key(const char *option, const char *value, const char **reason)
{
	char *text;

	if (strcmp(option, "api_key") == 0)
		return pstrdup(value);
	if (strcmp(option, "api_key_file") == 0)
		return secret_read_file(value, reason);
	text = getenv(value);
	if (text == NULL)
		*reason = "the server process has no such variable";
	return text ? pstrdup(text) : NULL;
}

static void
tell_trouble(LlmTrouble *trouble, int sqlstate, char *reason, char *hint)
{
	trouble->sqlstate = sqlstate;
	trouble->reason = reason;
	trouble->hint = hint;
}

static ForeignServer *
find_foreign_server(const char *name, LlmTrouble *trouble)
{
	ForeignServer *foreign = GetForeignServerByName(name, true);

	if (foreign == NULL ||
		foreign->fdwid != get_foreign_data_wrapper_oid(LLM_WRAPPER_NAME, true))
	{
		tell_trouble(trouble, ERRCODE_FACTORY_UNDEFINED_MODEL,
					 psprintf("there is no model server \"%s\"", name),
					 psprintf("Create it with CREATE SERVER %s FOREIGN DATA WRAPPER %s, "
							  "or move the model with factory.alter_model().",
							  quote_identifier(name), LLM_WRAPPER_NAME));
		return NULL;
	}
	if (!compat_may_use_server(foreign->serverid, GetUserId()))
	{
		tell_trouble(trouble, ERRCODE_INSUFFICIENT_PRIVILEGE,
					 psprintf("permission denied for foreign server %s", name),
					 psprintf("Ask its owner for GRANT USAGE ON FOREIGN SERVER %s TO %s.",
							  quote_identifier(name),
							  quote_identifier(GetUserNameFromId(GetUserId(), false))));
		return NULL;
	}
	return foreign;
}

/* --- what is kept of the catalogue ------------------------------------------------------- */

#define SERVER_MAX_KEPT 64

/* A server that a role may use, and where the mapping says that its key is. */
typedef struct KeptServer
{
	Oid role;
	LlmServer server;
	char *key_option; /* NULL: it is used without a key */
	char *key_value;
} KeptServer;

static bool kept_holds = false;
static MemoryContext kept_context = NULL;
static List *kept = NIL; /* of KeptServer * */

/* May come at any moment: a flag only. */
static void
catalogue_changed(Datum argument, int cache, uint32 hash)
{
	kept_holds = false;
}

/* All that is looked at to find a server, its rights and its key. */
static void
watch_catalogue(void)
{
	static const int caches[] = {FOREIGNSERVEROID, FOREIGNDATAWRAPPEROID, USERMAPPINGOID,
								 AUTHOID, AUTHMEMROLEMEM};

	for (int i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], catalogue_changed, (Datum) 0);
	kept_context = AllocSetContextCreate(CacheMemoryContext, "pg_factory servers",
										 ALLOCSET_SMALL_SIZES);
}

static void
forget_servers(void)
{
	if (kept_context == NULL)
		watch_catalogue();
	kept = NIL;
	MemoryContextReset(kept_context);
	kept_holds = true;
}

static const KeptServer *
kept_server(const char *name)
{
	ListCell *cell;

	foreach (cell, kept)
	{
		const KeptServer *one = lfirst(cell);

		if (one->role == GetUserId() && strcmp(one->server.name, name) == 0)
			return one;
	}
	return NULL;
}

static char *
kept_text(const char *text)
{
	return text ? MemoryContextStrdup(kept_context, text) : NULL;
}

static const KeptServer *
keep_server(const LlmServer *server, const DefElem *key)
{
	KeptServer *one;
	MemoryContext before = MemoryContextSwitchTo(kept_context);

	one = palloc0(sizeof(KeptServer));
	one->role = GetUserId();
	one->server = *server;
	one->server.name = pstrdup(server->name);
	one->server.base_url = pstrdup(server->base_url);
	one->server.ca_file = kept_text(server->ca_file);
	if (key != NULL)
	{
		one->key_option = pstrdup(key->defname);
		one->key_value = pstrdup(strVal(key->arg));
	}
	kept = lappend(kept, one);
	MemoryContextSwitchTo(before);
	return one;
}

/* --- finding ------------------------------------------------------------------------------- */

/* False where the server has what it takes, but for its key. */
static bool
has_fault(const LlmServer *server, LlmTrouble *trouble)
{
	if (server->provider != NULL && server->base_url != NULL)
		return false;
	tell_trouble(trouble, ERRCODE_FACTORY_UNDEFINED_MODEL,
				 psprintf("server \"%s\" has no known provider or no base_url",
						  server->name),
				 pstrdup("Set both with ALTER SERVER."));
	return true;
}

/* May the key be taken from there for a server of that owner? */
static bool
is_given_key(const ForeignServer *foreign, const DefElem *key, LlmTrouble *trouble)
{
	if (strcmp(key->defname, "api_key") == 0 || server_files_are_open_to(foreign->owner))
		return true;
	tell_trouble(trouble, ERRCODE_INSUFFICIENT_PRIVILEGE,
				 psprintf("the key of server \"%s\" is not given to a server of that "
						  "owner",
						  foreign->servername),
				 pstrdup("Have the server owned by a role with privileges of role "
						 "\"pg_read_server_files\", or use option \"api_key\"."));
	return false;
}

static const KeptServer *
look_up(const char *name, LlmTrouble *trouble)
{
	ForeignServer *foreign = find_foreign_server(name, trouble);
	LlmServer server = {0};
	List *mapping;
	const DefElem *key;
	char *provider;

	if (foreign == NULL)
		return NULL;
	provider = option_value(foreign->options, "provider");
	server.provider = provider_find(provider ? provider : "openai");
	server.base_url = option_value(foreign->options, "base_url");
	server.allow_http = option_is_true(foreign->options, "allow_http");
	server.allow_private = option_is_true(foreign->options, "allow_private");
	server.ca_file = option_value(foreign->options, "ca_file");
	server.id = foreign->serverid;
	server.name = foreign->servername;
	server.max_connections = option_count(foreign->options, "max_connections");
	mapping = mapping_options(foreign->serverid);
	key = mapping != NIL ? linitial(mapping) : NULL;
	if (has_fault(&server, trouble) ||
		(key != NULL && !is_given_key(foreign, key, trouble)))
		return NULL;
	return keep_server(&server, key);
}

/* True where there is a usable key, or none is asked for; files are read at each use. */
static bool
take_key(LlmServer *server, const KeptServer *known, LlmTrouble *trouble)
{
	const char *fault = NULL;

	if (known->key_option == NULL)
		return true;
	server->key = fetch_key(known->key_option, known->key_value, &fault);
	if (server->key != NULL)
	{
		server->key = secret_trimmed(server->key);
		fault = server_key_fault(server->key);
	}
	if (fault == NULL)
		return true;
	tell_trouble(trouble, ERRCODE_FACTORY_UNDEFINED_MODEL,
				 psprintf("option \"%s\" of the user mapping for server \"%s\" gives no "
						  "key: %s",
						  known->key_option, server->name, fault),
				 pstrdup("Correct it with ALTER USER MAPPING, or put the key there."));
	return false;
}

LlmServer *
server_find(const char *name, LlmTrouble *trouble)
{
	const KeptServer *known;
	LlmServer *server;

	/* Nothing is opened here that would take the news in. */
	AcceptInvalidationMessages();
	if (!kept_holds || list_length(kept) >= SERVER_MAX_KEPT)
		forget_servers();
	known = kept_server(name);
	if (known == NULL)
		known = look_up(name, trouble);
	if (known == NULL)
		return NULL;
	server = palloc(sizeof(LlmServer));
	*server = known->server;
	server->name = pstrdup(known->server.name);
	server->base_url = pstrdup(known->server.base_url);
	if (known->server.ca_file != NULL)
		server->ca_file = pstrdup(known->server.ca_file);
	return take_key(server, known, trouble) ? server : NULL;
}
