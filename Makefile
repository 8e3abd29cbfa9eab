EXTENSION = idempotency idempotency_router idempotency_remit
# The control file of the first is the only home of the version.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" idempotency.control)

MODULE_big = idempotency
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA = $(wildcard sql/*--*--*.sql)
DATA_built = $(patsubst %,sql/%--$(EXTVERSION).sql,$(EXTENSION))
SCRIPTS = bin/idempotency-move-partition
EXTRA_CLEAN = dist test/expected
PG_CPPFLAGS = -Isrc -DIDEM_VERSION='"$(EXTVERSION)"'
# The folder of the build is not in the library: the same source makes the same library everywhere.
PG_CFLAGS = -ffile-prefix-map=$(CURDIR)=.

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=idempotency --encoding=UTF8 --no-locale
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = $(REGRESS_OPTS)
PROVE_TESTS = test/t/*.pl

# Bitcode would let JIT inline our functions, which is not worth it. And every build would need the clang that
# PostgreSQL was built with.
override with_llvm = no

all:

# The parts of the install script, in their order: each needs those before it. "rights" covers all objects and comes last.
SCRIPT = sql/install/start.sql sql/types/answers.sql $(patsubst %,sql/install/%.sql,money ledger payment request check stat rights)

sql/idempotency--$(EXTVERSION).sql: $(SCRIPT) idempotency.control
	cat $(SCRIPT) >$@

SCRIPT_ROUTER = sql/router/start.sql sql/types/answers.sql sql/types/remittance.sql \
	$(patsubst %,sql/router/%.sql,partitions errors define calls requests batches all relay rights)

sql/idempotency_router--$(EXTVERSION).sql: $(SCRIPT_ROUTER) idempotency_router.control
	cat $(SCRIPT_ROUTER) >$@

SCRIPT_REMIT = sql/remit/start.sql sql/types/remittance.sql $(patsubst %,sql/remit/%.sql,send deliver rights)

sql/idempotency_remit--$(EXTVERSION).sql: $(SCRIPT_REMIT) idempotency_remit.control
	cat $(SCRIPT_REMIT) >$@

# PostgreSQL may be built without dependency tracking, as Debian's is.
$(OBJS): $(wildcard src/*.h src/*/*.h) idempotency.control

# pg_regress looks for "expected" next to the tests. An archive may not keep a link, so we make the link here.
installcheck: test/expected

test/expected:
	ln -s ../expected $@

# PGXS looks for a program under the path that it has here, and finds none.
uninstall: uninstall-scripts

uninstall-scripts:
	rm -f $(patsubst bin/%,'$(DESTDIR)$(bindir)'/%,$(SCRIPTS))

# These targets find PostgreSQL by themselves, or install it. So make must be able to read this file without it.
SELF_CONTAINED = test soak fuzz model demo orders wallets processor cluster fastapi express bench bench-ledger bench-router bench-scale bench-instructions bench-plots pictures plots indent types dist deb clients

ifneq ($(filter-out $(SELF_CONTAINED),$(or $(MAKECMDGOALS),all)),)
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(error $(PG_CONFIG) does not run: install postgresql-server-dev-NN, or set PG_CONFIG)
endif
include $(PGXS)
endif

.PHONY: prove_installcheck uninstall-scripts $(SELF_CONTAINED)

prove_installcheck:
	$(prove_installcheck)

# All tests, or the named ones: make test TESTS='refund same-key 002_crash'
# With assertions: make test COPT=-DUSE_ASSERT_CHECKING
test:
	@test/bin/setup test/bin/run

# Play against the model for a number of seconds: make soak SECONDS=3600
# (The programs get it as IDEM_SECONDS, because SECONDS is a clock in a shell.)
soak:
	@TESTS=010_model test/bin/setup test/bin/run

test soak processor cluster: export IDEM_SECONDS := $(or $(SECONDS),$(IDEM_SECONDS))

# Look for JSON that breaks its canonical form, for a number of seconds: make fuzz SECONDS=3600
fuzz:
	@test/bin/fuzz $(SECONDS)

# The protocol of the accounts, in all its states; FULL=1 makes them more.
model:
	@test/bin/model

# Both acts of the demo, or one of them: make wallets. The double charge as a page, until Ctrl-C: make demo WEB=1 PORT=8001
demo:
	@test/bin/setup $(if $(WEB),examples/web/run,examples/storm/run orders wallets)

orders wallets:
	@test/bin/setup examples/storm/run $@

# A shop and a card processor that fail, with two ledgers at the end: make processor SECONDS=30
processor:
	@test/bin/setup examples/processor/run

# A router and four partitions; one server is killed, and a partition moves: make cluster SECONDS=60
cluster:
	@test/bin/setup examples/cluster/run

# A server and a service on it, until Ctrl-C: make fastapi PORT=8001
fastapi express:
	@test/bin/setup examples/$@/run

bench:
	@bench/save run router

# Payments between accounts, next to pgledger, too: make bench-ledger PGLEDGER=/path/of/its/checkout/pgledger.sql
bench-ledger:
	@bench/save ledger

bench bench-ledger bench-plots: export IDEM_PGLEDGER := $(or $(abspath $(PGLEDGER)),$(IDEM_PGLEDGER))

# Measures what the plots show, and makes them: on a machine that does nothing else, for about 50 minutes.
bench-plots:
	@[ -r "$(IDEM_PGLEDGER)" ] || { echo 'make bench-plots PGLEDGER=/path/of/its/checkout/pgledger.sql' >&2; exit 2; }
	@$(MAKE) -s bench
	@cp dist/bench.csv bench/results.csv
	@$(MAKE) -s plots

# What a call through a router costs.
bench-router:
	@bench/save router

# Next to a small and a large number of payments: make bench-scale SMALL=1000000 LARGE=50000000
bench-scale:
	@test/bin/setup bench/scale

bench-instructions:
	@test/bin/setup bench/instructions

# Draws the pictures of the pages.
pictures:
	@docs/pictures/draw

# Draws the plots of bench/results.csv, and writes the tables of the pages.
plots:
	@docs/pictures/plot

# Lays out the C code as PostgreSQL lays out its own.
indent:
	@test/bin/indent

# Checks the types of the packages in clients/.
types:
	@test/bin/types

# The packages of clients/, as pip and npm install them.
clients:
	mkdir -p dist
	$(or $(PYTHON),/usr/bin/python3) -m pip wheel -q --no-deps --no-build-isolation --wheel-dir dist ./clients/python
	rm -rf clients/python/build clients/python/src/*.egg-info
	cd clients/node && npm pack --silent --pack-destination ../../dist

# The archive for PGXN: the last commit, with the version filled in. One commit makes one archive, byte by byte.
dist:
	mkdir -p dist
	sed 's/@VERSION@/$(EXTVERSION)/' META.json > dist/META.json
	TZ=UTC git archive --format=zip --prefix=idempotency-$(EXTVERSION)/ --add-file=dist/META.json \
		--output=dist/idempotency-$(EXTVERSION).zip HEAD -- . ':!META.json'
	rm dist/META.json

# The Debian packages, built in a clean folder, as root. For another release of Debian: make deb SUITE=trixie
deb:
	@test/bin/deb $(SUITE)
