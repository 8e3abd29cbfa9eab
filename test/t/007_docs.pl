# Every example of README.md and docs/*.md runs, and prints what the page says. (039_languages runs docs/languages.)
#
# Each page runs in a fresh database, "shop", with the extension unless the page itself creates it. Its blocks run in
# their order, those of SQL in one session.
#
# sql		the lines "--> ..." say what the statement before them prints; "…" stands for any text. A statement
#			without such a line prints nothing.
# sh		each line is a command that succeeds. Commands of make and sudo are left out, but for psql: they build the extension
#			and run these tests.
# python, js	the first line is a comment with the name of the file, by which later blocks can import it. The
#			comments "--> ..." say what it prints.
# ini, and blocks without a language, are not run.

use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use FindBin;
use lib $FindBin::RealBin;

use Cwd;
use Router;
use LostAnswer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = getcwd();
my %interpreter = (
	sh => [ 'bash', '-e' ],
	python => [ $ENV{PYTHON} // '/usr/bin/python3' ],
	js => ['node']);

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init(extra => [ '--locale=C', '--encoding=UTF8' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'idempotency'");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop_owner');

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'shop';
local $ENV{PGUSER} = getpwuid $>;		# node-postgres would take $USER
local $ENV{PYTHONDONTWRITEBYTECODE} = 1;

sub read_page
{
	open(my $file, '<', "$tree/$_[0]") or die "$_[0]: $!";
	local $/;
	return scalar <$file>;
}

# The statements of a block of SQL, each with the lines that it prints.
sub statements
{
	my @statements;
	my $statement = '';
	for my $line (split /\n/, $_[0])
	{
		if ($line =~ /^--> ?(.*)/)
		{
			push @{ $statements[-1]{prints} }, $1;
			next;
		}
		next if $line =~ /^--/ || $line eq '';
		$statement .= "$line\n";
		# not within the body of a function
		next unless $line =~ /(;|\\gset)$/ && (() = $statement =~ /\$\$/g) % 2 == 0;
		push @statements, { code => $statement, prints => [] };
		$statement = '';
	}
	is($statement, '', 'block ends with a whole statement');
	return @statements;
}

# Writes a program to a file. It is run from psql, so that it comes between the right statements.
sub program
{
	my ($language, $name, $code, $prints) = @_;
	open(my $file, '>', $name) or die "$name: $!";
	print $file $code;
	close $file;
	return {
		code => "\\! @{ $interpreter{$language} } $name >$name.out 2>&1 </dev/null; echo \$? >$name.status\n",
		shows => $code,
		prints => $prints,
		file => $name
	};
}

# The steps that a page consists of.
sub steps
{
	my @steps;
	my $count = 0;
	while ($_[0] =~ /^```(\w*)\n(.*?)^```$/msg)
	{
		my ($language, $code) = ($1, $2);
		if ($language eq 'sql')
		{
			push @steps, statements($code);
		}
		elsif ($language eq 'sh')
		{
			push @steps, map { program('sh', 'command' . ++$count, "$_\n", undef) } grep { !/^(make|sudo)\b/ } map { s/^sudo -u postgres (?=psql)//r } split /\n/, $code;
		}
		elsif ($language eq 'python' || $language eq 'js')
		{
			my ($name) = $code =~ m{\A(?:#|//) (\w+\.(?:py|mjs))\n} or die "program without a name:\n$code";
			push @steps, program($language, $name, $code, [ $code =~ m{^\s*(?:#|//) --> (.*)}mg ]);
		}
		elsif ($language ne '' && $language ne 'ini')
		{
			fail("block of an unknown language: $language");
		}
	}
	return @steps;
}

# Is this what was to be printed? Space at the ends of lines makes no difference.
sub check_output
{
	my ($got, $step) = @_;
	my $pattern = join '', map { join('.+', map { quotemeta } split(/…/, s/\s+$//r, -1)) . "\n" } @{ $step->{prints} };
	$got =~ s/[ \t]+$//mg;
	like($got, qr/\A$pattern\z/, $step->{shows} // $step->{code});
	return;
}

sub fresh_database
{
	$node->safe_psql('postgres', 'CREATE DATABASE shop OWNER shop_owner');
	return;
}

# Removes what a page left: databases, and roles, which belong to the whole server.
sub clean_up
{
	my $names = $node->safe_psql('postgres', q(
		SELECT format('DROP DATABASE %I;', datname) FROM pg_database WHERE datname ~ '^(shop|pay|router)'
		UNION ALL SELECT format('DROP ROLE %I;', rolname) FROM pg_roles
			WHERE oid >= 16384 AND rolname <> 'shop_owner'));
	$node->safe_psql('postgres', $_) for split /\n/, $names;
	return;
}

sub run_page
{
	my ($page) = @_;
	my $text = read_page($page);
	my $dir = "$PostgreSQL::Test::Utils::tmp_check/docs/$page";
	system_or_bail('mkdir', '-p', $dir);
	chdir $dir or die "$dir: $!";
	symlink("$tree/examples/express/node_modules", 'node_modules') or die $!;

	my @steps = steps($text);
	fresh_database();
	$node->safe_psql('shop', 'CREATE EXTENSION idempotency') unless $text =~ /CREATE EXTENSION idempotency/;

	open(my $script, '>', 'script.sql') or die $!;
	print $script "\\set VERBOSITY verbose\n";
	print $script "$steps[$_]{code}\\echo --- $_\n" for 0 .. $#steps;
	close $script;

	my $output = '';
	IPC::Run::run([ 'psql', '-XqAt', '-F', ' | ', '-f', 'script.sql' ], '<', '/dev/null', '>&', \$output,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	utf8::decode($output);
	$output =~ s/^psql:[^ ]+:\d+: //mg;
	$output =~ s/^LOCATION: .*\n//mg;
	$output =~ s/^LINE \d+: .*\n.*\^\n//mg;

	for my $i (0 .. $#steps)
	{
		my $step = $steps[$i];
		my $got = $output =~ s/\A(.*?)^--- $i\n//ms ? $1 : "it did not run\n";
		if (my $file = $step->{file})
		{
			$got = -e "$file.out" ? slurp_file("$file.out") : '';
			is(-e "$file.status" ? slurp_file("$file.status") : '', "0\n", "$step->{shows} ends well") or diag $got;
		}
		check_output($got, $step) if $step->{prints};
	}

	is($node->safe_psql('shop_restored', q(SELECT replayed FROM billing.idem_pay('order-1', 10))), 't',
		'the restored database answers a key')
		if $page eq 'docs/operations.md';
	clean_up();
	chdir $tree or die $!;
	return;
}

for my $page ('README.md', glob 'docs/*.md')
{
	next if $page =~ /many-servers/ && Router::missing();
	subtest $page => sub {
		run_page($page);
		pass('the page was run');
	};
}

# The retry loops of the recipes, in the cases that they are for. Each program prints one line for each case.
my %cases = (
	python => [ 'cases.py', <<'END' ],
from once import once
import psycopg

tries = 0

def case(key, breaks):
    global tries
    tries = 0

    def work(connection):
        global tries
        tries += 1
        replayed, = connection.execute("SELECT replayed FROM idem_pay(%s::text, 5, 'EUR')", ["python-" + key]).fetchone()
        if tries == 1 and breaks:
            connection.execute(breaks)
        return replayed

    try:
        replayed = once(work)
        print(key, "replayed" if replayed else "paid", tries)
    except psycopg.Error as error:
        print(key, error.sqlstate, tries)

END
	js => [ 'cases.mjs', <<'END' ]);
import { once } from "./once.mjs";

async function run(key, breaks) {
    let tries = 0;
    try {
        const replayed = await once(async (query) => {
            tries++;
            const { rows } = await query("SELECT replayed FROM idem_pay($1::text, 5, 'EUR')", ["js-" + key]);
            if (tries === 1 && breaks) await query(breaks);
            return rows[0].replayed;
        });
        console.log(key, replayed ? "replayed" : "paid", tries);
    } catch (error) {
        console.log(key, error.code, tries);
    }
}

END

sub retry_loop
{
	my ($language, $call) = @_;
	my ($name, $code) = @{ $cases{$language} };
	my @cases = (
		[ 'lost-answer', '', 'replayed 2' ],
		[ 'killed', 'SELECT pg_terminate_backend(pg_backend_pid())', 'paid 2' ],
		map({ [ $_, "DO \$\$BEGIN RAISE SQLSTATE '$_'; END\$\$", 'paid 2' ] } qw(40001 40P01 55P03 57014 ID409 08006 57P01)),
		map({ [ $_, "DO \$\$BEGIN RAISE SQLSTATE '$_'; END\$\$", "$_ 1" ] } qw(ID422 23505)));

	chdir "$PostgreSQL::Test::Utils::tmp_check/docs/docs/recipes.md" or die $!;
	open(my $file, '>', $name) or die $!;
	print $file $code, map { sprintf("$call\n", $_->[0], $_->[1]) } @cases;
	close $file;

	fresh_database();
	$node->safe_psql('shop', 'CREATE EXTENSION idempotency');
	my $lossy = LostAnswer->new($node);
	my $output = '';
	{
		local $ENV{PGHOST} = $lossy->host;
		IPC::Run::run([ @{ $interpreter{$language} }, $name ], '<', '/dev/null', '>&', \$output,
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	ok($lossy->stop, "$language: the answer to a COMMIT was lost");
	is($output, join('', map { "$_->[0] $_->[2]\n" } @cases), "$language: the loop retries what it may");
	is($node->safe_psql('shop', 'SELECT count(*) FROM idempotency.operation'), scalar(grep { $_->[2] =~ /2$/ } @cases),
		"$language: each is paid once");
	clean_up();
	chdir $tree or die $!;
	return;
}

retry_loop('python', 'case("%s", "%s")');
retry_loop('js', 'await run("%s", "%s");');

done_testing();
