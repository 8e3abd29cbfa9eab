# The programs of docs/languages run as they are printed, and print what their page says. Each order is paid once and refunded
# once, though the answer is lost twice: the program loses one itself, and the connection breaks at the next COMMIT. If the
# payment is refused, the program ends with the error, and prints no result.
#
# A page has programs, whose first line is a comment with the name of the file. The block of SQL makes the table, and the block
# without a language is what each program prints. Programs whose client is not installed are skipped. With IDEM_LANGUAGES=all,
# test/bin/setup installs what Debian and npm have, and each program must run.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Cwd;
use File::Basename qw(dirname);
use LostAnswer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant BUILD_SECONDS => 600;

my $tree = getcwd();
my $all = ($ENV{IDEM_LANGUAGES} // '') eq 'all';
my $python = $ENV{PYTHON} // '/usr/bin/python3';
my $libpq = join ' ', map { chomp(my $dir = `$ENV{PG_CONFIG} --$_->[1]`); "$_->[0]$dir" } [ '-I', 'includedir' ], [ '-L', 'libdir' ];
my $gocode = '/usr/share/gocode';
my $pgx = -d "$gocode/src/github.com/jackc/pgx/v5" ? 'v5' : 'v4';
my $jdbc = '/usr/share/java/postgresql.jar';
my $registry = '/usr/share/cargo/registry';

# Each program: its page and file, what to install, how to find out whether it is installed, how to build it, how to run it.
my @programs = (
	(map { python(@$_) }
		[ 'shop_psycopg.py', 'psycopg' ], [ 'shop_psycopg2.py', 'psycopg2' ], [ 'shop_asyncpg.py', 'asyncpg' ],
		[ 'shop_sqlalchemy.py', 'sqlalchemy', 'psycopg2' ], [ 'shop_django.py', 'django', 'psycopg2' ]),
	(map { node(@$_) }
		[ 'shop_pg.mjs', 'pg' ], [ 'shop_postgres.mjs', 'postgres' ], [ 'shop_knex.mjs', 'knex', 'pg' ],
		[ 'shop_drizzle.mjs', 'drizzle-orm', 'pg' ]),
	{
		page => 'java', file => 'Shop.java', needs => 'default-jdk-headless libpostgresql-jdbc-java',
		installed => "command -v javac && test -e $jdbc",
		run => "java -cp $jdbc Shop.java"
	},
	go('shop_pgx.go', "golang-github-jackc-pgx-$pgx-dev", "jackc/pgx/$pgx"),
	go('shop_pq.go', 'golang-github-lib-pq-dev', 'lib/pq'),
	{
		page => 'ruby', file => 'shop_pg.rb', needs => 'ruby-pg',
		installed => 'ruby -e "require %q(pg)"', run => 'ruby shop_pg.rb'
	},
	{
		page => 'ruby', file => 'shop_activerecord.rb', needs => 'ruby-activerecord ruby-pg',
		installed => 'ruby -e "require %q(active_record); require %q(pg)"', run => 'ruby shop_activerecord.rb'
	},
	{
		page => 'php', file => 'shop.php', needs => 'php-cli php-pgsql',
		installed => 'php -m | grep -qx pdo_pgsql', run => 'php shop.php'
	},
	{
		page => 'perl', file => 'shop.pl', needs => 'libdbd-pg-perl',
		installed => 'perl -MDBD::Pg -e 1', run => 'perl shop.pl'
	},
	{
		page => 'c', file => 'shop.c', needs => 'gcc libpq-dev',
		installed => "echo '#include <libpq-fe.h>' | cc -E $libpq -",
		build => "cc -Wall -Wextra -Werror $libpq -o shop shop.c -lpq", run => './shop'
	},
	{
		page => 'rust', file => 'src/main.rs', with => [ 'Cargo.toml', '.cargo/config.toml' ],
		needs => 'cargo librust-tokio-postgres-dev librust-rust-decimal-dev',
		installed => "test -x /usr/bin/cargo && ls -d $registry/tokio-postgres-* $registry/rust_decimal-*",
		build => 'CARGO_HOME=$PWD/home RUSTC=/usr/bin/rustc CARGO_INCREMENTAL=0 /usr/bin/cargo build --offline', run => 'target/debug/shop'
	});

sub python
{
	my ($file, @modules) = @_;
	return {
		page => 'python', file => $file, needs => join(' ', map { "python3-$_" } @modules),
		installed => "$python -c 'import " . join(', ', @modules) . "'", run => "$python $file"
	};
}

# The modules are those of test/languages, or of test/drivers, which has two of them.
sub node
{
	my ($file, @modules) = @_;
	my ($modules) = grep {
		my $dir = $_;
		!grep { !-d "$dir/$_" } @modules
	} "$tree/test/languages/node_modules", "$tree/test/drivers/node_modules";
	return {
		page => 'node', file => $file, needs => 'nodejs npm, and the modules of test/languages',
		installed => $modules ? 'command -v node' : 'false',
		build => 'ln -s ' . ($modules // '') . ' node_modules', run => "node $file"
	};
}

# Debian's packages for Go are sources, outside of any module.
sub go
{
	my ($file, $package, $path) = @_;
	return {
		page => 'go', file => $file, needs => "golang-go $package golang-github-shopspring-decimal-dev",
		installed => "command -v go && ls -d $gocode/src/github.com/$path $gocode/src/github.com/shopspring/decimal",
		build => "GO111MODULE=off GOPATH=$gocode go build -o shop $file", run => './shop'
	};
}

# The blocks of the pages

my (%schema, %prints, %export, %change, %block);
for my $page (map { $_->{page} } @programs)
{
	my $text = slurp_file("docs/languages/$page.md");
	while ($text =~ /^```(\w*)\n(.*?)^```$/msg)
	{
		my ($language, $code) = ($1, $2);
		$schema{$page} = $code if $language eq 'sql';
		$prints{$page} = $code if $language eq '';
		$export{$page} = $1 if $language eq 'sh' && $code =~ /^export (PGHOST.*)$/m;
		$change{$2} = $1 if $language eq 'sh' && $code =~ /^(sed .* (\S+))$/m;
		next unless $code =~ m{\A(?:#|//|/\*|<\?php\n//) ([\w./]+\.\w+)( \*/)?\n};
		$block{"$page/$1"} = $code;
	}
}
is_deeply([ sort keys %block ], [ sort map { my $p = $_; map { "$p->{page}/$_" } $p->{file}, @{ $p->{with} // [] } } @programs ],
	'all programs of the pages are run');
for my $page (sort keys %schema)
{
	is($schema{$page}, $schema{python}, "$page makes the same table");
	is($prints{$page}, $prints{python}, "$page prints the same");
	is($export{$page}, $export{python}, "$page connects alike");
}

# Which can run?

my @run;
for my $program (@programs)
{
	my $name = "$program->{page}/$program->{file}";
	if (system("{ $program->{installed}; } >/dev/null 2>&1") == 0)
	{
		push @run, $program;
	}
	elsif ($all)
	{
		fail("$name: not installed: $program->{needs}");
	}
	else
	{
		note "$name is skipped: not installed: $program->{needs}";
	}
}

# The schema is that of the page; each program has a copy of its database, and logs in with the page's password.

my $node = PostgreSQL::Test::Cluster->new('languages');
$node->init;
$node->append_conf('postgresql.conf', "log_line_prefix = '%d '");
my $hba = $node->data_dir . '/pg_hba.conf';
my $trust = slurp_file($hba);
unlink $hba;
$node->append_conf('pg_hba.conf', "local all shop_app scram-sha-256\n$trust");
$node->start;
my %login = map { split /=/ } split ' ', $export{python};
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', $schema{python});
$node->safe_psql('postgres', 'CREATE DATABASE spent TEMPLATE shop');
$node->safe_psql('spent', q(SET ROLE shop_app; SELECT idem_pay('order-5001', 1, 'EUR', scope => 'shop')));

# Starts a program: builds it, and runs it twice, through a connection that breaks. The third time its key is spent.
sub start_program
{
	my ($program, $number) = @_;
	my $dir = "$PostgreSQL::Test::Utils::tmp_check/languages/$number";
	for my $file ($program->{file}, @{ $program->{with} // [] })
	{
		system_or_bail('mkdir', '-p', dirname("$dir/$file"));
		append_to_file("$dir/$file", $block{"$program->{page}/$file"});
	}
	$node->safe_psql('postgres', "CREATE DATABASE shop_$number TEMPLATE shop");
	my $lossy = LostAnswer->new($node, tcp => 1);
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($lossy->host, $lossy->port, "shop_$number");
	local @ENV{qw(PGUSER PGPASSWORD)} = @login{qw(PGUSER PGPASSWORD)};
	local $ENV{PGSSLMODE} = 'disable' if $program->{page} eq 'go';		# this server has no TLS
	my $change = $program->{file} eq 'shop_pgx.go' && $pgx eq 'v4' ? $change{ $program->{file} } : 'true';
	my $command = "cd $dir && $change && { " . ($program->{build} // 'true') . "; } >&2 && $program->{run} >first && $program->{run} >second"
		. " && ! PGDATABASE=spent $program->{run} >third 2>error";
	my $output = '';
	my $run = IPC::Run::start([ 'sh', '-c', $command ], '<', \undef, '>&', \$output, IPC::Run::timeout(BUILD_SECONDS));
	return { %$program, dir => $dir, database => "shop_$number", lossy => $lossy, run => $run, output => \$output };
}

sub check_program
{
	my ($job) = @_;
	ok($job->{run}->finish, "$job->{file} ends well") or diag ${ $job->{output} };
	ok($job->{lossy}->stop, 'the answer to a COMMIT was lost');
	my @killed = slurp_file($node->logfile) =~ /^$job->{database} FATAL:  terminating connection due to administrator command/mg;
	is(scalar @killed, 2, 'and one before it, each time');
	for my $time ('first', 'second')
	{
		is(-e "$job->{dir}/$time" ? slurp_file("$job->{dir}/$time") : '', $prints{ $job->{page} }, "what it prints the $time time");
	}
	my ($third, $error) = map { -e "$job->{dir}/$_" ? slurp_file("$job->{dir}/$_") : '' } 'third', 'error';
	unlike($third, qr/^(paid|another amount|refunded|too much):/m, 'no result of a payment that is refused');
	like($third . $error, qr/different request/, 'but the error');
	is($node->safe_psql($job->{database}, q(SELECT scope, key, kind, amount, currency FROM idempotency.operation ORDER BY seq)),
		"shop|order-5001|pay|19.95|EUR\nshop|order-5001-refund-1|refund|5.00|EUR", 'one payment, one refund');
	is($node->safe_psql($job->{database}, q(SELECT o.order_id, o.amount, p.status, p.captured, p.refunded
		FROM orders o JOIN idempotency.payment p ON p.payment_id = o.payment_id)), '5001|19.95|partially_refunded|19.95|5.00', 'one order');
	is($node->safe_psql($job->{database}, 'SELECT count(*) FROM idem_check() WHERE ok IS NOT TRUE'), '0', 'nothing is wrong');
	return;
}

# All at once, those that take long to build first.
my $number = 0;
my @jobs = map { start_program($_, ++$number) } sort { ($b->{page} =~ /rust|go/) <=> ($a->{page} =~ /rust|go/) } @run;
for my $job (@jobs)
{
	subtest "$job->{page}/$job->{file}" => sub { check_program($job) };
}

$node->stop;
done_testing();
