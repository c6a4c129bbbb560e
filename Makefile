# pg_factory: PGXS build of the extension; the sidecar has its own Makefile.
#
#   make            the extension and factoryd
#   make install    into the PostgreSQL that PG_CONFIG names
#   make test       everything, on a private server of its own
#   make lint       format, floors, exported symbols, error style, shell
#   make asan       the suite under AddressSanitizer and UBSan

EXTENSION  = pg_factory
# Not VERSION: PGXS owns that name.
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_factory.control)

# The rooms from the ground up: the install script is their SQL in this order.
ROOMS = base http metrics cache llm rules judgment review refresh bi worker api

MODULE_big = pg_factory
OBJS       = src/pg_factory.o $(patsubst %.c,%.o,$(foreach r,$(ROOMS),$(sort $(wildcard src/$(r)/*.c))))
# From each earlier version to this one; upgrade/README.md tells how they come about.
UPDATES    = $(patsubst upgrade/%.sql,pg_factory--%--$(EXTVERSION).sql,$(filter-out upgrade/pg_factory--%,$(wildcard upgrade/*.sql)))
DATA_built = pg_factory--$(EXTVERSION).sql $(UPDATES)
DATA       = $(wildcard upgrade/pg_factory--*.sql)

REGRESS        = $(sort $(basename $(notdir $(wildcard sql/*.sql))))
REGRESS_OPTS   = --load-extension=pg_factory --encoding=UTF8 --no-locale
ISOLATION      = $(sort $(basename $(notdir $(wildcard specs/*.spec))))
ISOLATION_OPTS = --load-extension=pg_factory --encoding=UTF8 --no-locale

EXTRA_CLEAN = build/factoryd build/sidecar
SHLIB_LINK  = -lcurl -lhiredis

PG_CONFIG ?= pg_config
# -isystem keeps the server's headers out of our warnings, which are errors.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -Isrc -DFACTORY_VERSION='"$(EXTVERSION)"'
PG_CFLAGS   = -fvisibility=hidden -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers $(if $(findstring clang,$(CC)),-Wno-ignored-optimization-argument)

# Nothing of ours is worth inlining into jitted expressions: no bitcode, no clang.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

all: sidecar

# PGXS does not know which object reads which header.
$(OBJS): $(wildcard src/*/*.h) Makefile

SQL_PARTS = $(foreach r,$(ROOMS),$(wildcard src/$(r)/tables.sql src/$(r)/functions.sql)) src/base/close.sql

# Upgrades rerun functions.sql with OR REPLACE; a fresh install must never replace anybody's object.
pg_factory--$(EXTVERSION).sql: $(SQL_PARTS) Makefile pg_factory.control
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION pg_factory" to load this file. \quit'; \
	   for part in $(SQL_PARTS); do echo; echo "-- $$part"; sed 's/^CREATE OR REPLACE/CREATE/' $$part; done; } > $@.tmp
	@mv $@.tmp $@

UPDATE_PARTS = $(filter %/functions.sql,$(SQL_PARTS)) src/base/close.sql
update-parts:
	@echo $(UPDATE_PARTS)

pg_factory--%--$(EXTVERSION).sql: upgrade/%.sql $(UPDATE_PARTS) Makefile pg_factory.control
	@scripts/update-script $* > $@.tmp
	@mv $@.tmp $@

.PHONY: update-parts sidecar test prove lint format asan
sidecar:
	$(if $(wildcard sidecar/Makefile),$(MAKE) -C sidecar PG_CONFIG=$(PG_CONFIG))

test:
	PG_CONFIG=$(PG_CONFIG) scripts/run-tests

prove:
	PG_CONFIG=$(PG_CONFIG) scripts/run-tests t/$(or $(T),)

lint:
	scripts/lint

format:
	clang-format -i $(wildcard src/*.c src/*/*.c src/*/*.h sidecar/*.c sidecar/*.h bench/*.c)

asan:
	PG_CONFIG=$(PG_CONFIG) scripts/run-tests --sanitize
